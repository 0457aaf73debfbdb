# SPDX-License-Identifier: Apache-2.0
import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.errors import FetchError
from proxy.model.subject import Located, Told
from proxy.subject.register import SqliteQuery
from proxy.subject.sqlite_directory import MAX_ROWS, MAX_VALUE_BYTES, SqliteDirectory
from proxy.subject.told import FAILED, NOT_FOUND
from tests.support.lookups import JP, TW, an_asked

QUERY = "SELECT id, country FROM users WHERE id IN ({ids})"
BOTH = Located(Told.FOUND, ("JP", "TW"))


def write(path: Path, *rows: tuple[object, object], kind: str = "TEXT") -> Path:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS users (id {kind}, country TEXT)")
        connection.executemany("INSERT INTO users VALUES (?, ?)", rows)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "crm.db", ("1", "JP"), ("2", "JP;TW"), ("3", "JP"), ("3", "TW"), ("4", None), ("5", "jp"))


@contextlib.asynccontextmanager
async def opened(file: Path, query: str = QUERY, **changes: object) -> AsyncIterator[SqliteDirectory]:
    how = SqliteQuery(str(file), query)
    directory = SqliteDirectory(an_asked(how, **changes), how)
    directory.check()
    try:
        yield directory
    finally:
        await directory.close()


async def test_ids_are_asked_for_together(file: Path) -> None:
    async with opened(file) as directory:
        told = await directory.ask(["1", "2", "3", "4", "5", "6"])
    assert told == {"1": JP, "2": BOTH, "3": BOTH, "4": NOT_FOUND, "5": FAILED}


async def test_numbers_are_compared_as_the_texts_that_they_are(tmp_path: Path) -> None:
    file = write(tmp_path / "numbers.db", (7, "JP"), (8, "TW"), kind="INTEGER PRIMARY KEY")
    async with opened(file) as directory:
        told = await directory.ask(["7", "007", "8 ", "abc"])
    assert told.get("7") == JP
    assert not told.keys() & {"007", "8 ", "abc"}


@pytest.mark.parametrize("id_", ["') OR 1=1 --", "1'; DROP TABLE users; --", '"', "?", "{ids}", "1 OR 1"])
async def test_an_id_is_never_a_part_of_the_query(file: Path, id_: str) -> None:
    async with opened(file) as directory:
        assert await directory.ask([id_]) == {}
        assert await directory.ask(["1"]) == {"1": JP}


async def test_nothing_is_written(file: Path) -> None:
    async with opened(file) as directory:
        await directory.ask(["1"])
        (opened_,) = directory._idle
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            opened_.connection.execute("DELETE FROM users")


async def test_what_others_write_is_seen(file: Path) -> None:
    async with opened(file) as directory:
        assert await directory.ask(["9"]) == {}
        write(file, ("9", "TW"))
        assert await directory.ask(["9"]) == {"9": TW}
        assert len(directory._idle) == 1, "by the same connection"


async def test_a_file_that_takes_the_place_of_another_is_opened(file: Path, tmp_path: Path) -> None:
    async with opened(file) as directory:
        assert await directory.ask(["1"]) == {"1": JP}
        write(tmp_path / "new.db", ("1", "TW")).rename(file)
        assert await directory.ask(["1"]) == {"1": TW}
        file.unlink()
        with pytest.raises(FetchError, match="cannot be read"):
            await directory.ask(["1"])
        write(file, ("1", "JP"))
        assert await directory.ask(["1"]) == {"1": JP}


ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, 'JP' FROM n WHERE i < 0 AND i <> ({ids})"
)


async def test_what_takes_too_long_is_broken_off(file: Path) -> None:
    async with opened(file, ENDLESS, timeout_seconds=0.1) as directory:
        with pytest.raises(FetchError, match="interrupted"):
            await directory.ask(["1"])
        assert directory._idle == []


async def test_a_question_that_nobody_waits_for_ends_by_itself(file: Path) -> None:
    async with opened(file, ENDLESS, timeout_seconds=0.3) as directory:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await directory.ask(["1"])
        threads = directory._threads
        assert threads is not None
        await asyncio.wait_for(asyncio.to_thread(threads.shutdown), 20)


async def test_a_locked_database_is_waited_for_no_longer(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        async with opened(file, timeout_seconds=1) as directory:
            with pytest.raises(FetchError, match="locked"):
                await directory.ask(["1"])
            other.execute("COMMIT")
            assert await directory.ask(["1"]) == {"1": JP}


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("SELECT id, land FROM users WHERE id IN ({ids})", id="no such column"),
        pytest.param("SELECT id FROM users WHERE id IN ({ids})", id="one column"),
        pytest.param("SELECT id, country, 1 FROM users WHERE id IN ({ids})", id="three columns"),
        pytest.param("SELECT id, country FROM people WHERE id IN ({ids})", id="no such table"),
    ],
)
async def test_a_query_that_is_none_for_this_database(file: Path, query: str) -> None:
    async with opened(file, query) as directory:
        with pytest.raises(FetchError, match="cannot be read"):
            await directory.ask(["1"])


async def test_an_answer_is_bounded(tmp_path: Path) -> None:
    file = write(tmp_path / "crm.db", *[("1", "JP")] * (MAX_ROWS + 1), ("2", "J" * (MAX_VALUE_BYTES + 1)))
    async with opened(file) as directory:
        with pytest.raises(ValueError, match="more than 16"):
            await directory.ask(["1"])
        with pytest.raises(ValueError, match="too big"):
            await directory.ask(["2"])


async def test_bytes_that_are_no_text_are_no_country(tmp_path: Path) -> None:
    file = write(tmp_path / "crm.db", ("1", b"\xff\xfe"), (b"\xff", "JP"))
    async with opened(file) as directory:
        assert (await directory.ask(["1", "\ufffd"]))["1"] == FAILED


async def test_what_is_no_database_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "crm.db"
    file.write_bytes(b"id,country\n1,JP\n" * 500)
    async with opened(file) as directory:
        with pytest.raises(FetchError, match="cannot be read"):
            await directory.ask(["1"])


async def test_many_questions_at_once_have_connections_of_their_own(file: Path) -> None:
    async with opened(file, at_once=4) as directory:
        said = await asyncio.gather(*(directory.ask(["1"]) for _ in range(40)))
        assert all(each == {"1": JP} for each in said)
        assert 1 <= len(directory._idle) <= 4


async def test_closed_it_opens_again(file: Path) -> None:
    async with opened(file) as directory:
        await directory.ask(["1"])
        await directory.close()
        assert directory._idle == []
        assert await directory.ask(["1"]) == {"1": JP}


def test_a_database_that_is_not_there_is_told(tmp_path: Path) -> None:
    how = SqliteQuery(str(tmp_path / "none.db"), QUERY)
    with pytest.raises(FetchError, match=r"there is no database .*--lookup staff=PATH"):
        SqliteDirectory(an_asked(how), how).check()
    assert [*SqliteDirectory(an_asked(how, batch=2), how).split(["1", "2", "3"])] == [["1", "2"], ["3"]]
