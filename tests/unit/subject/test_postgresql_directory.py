# SPDX-License-Identifier: Apache-2.0
"""What is ours of asking a PostgreSQL; what is the server's is in tests/e2e."""

import asyncio
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from proxy.errors import FetchError
from proxy.subject import postgresql_directory
from proxy.subject.postgresql_directory import LIFETIME_SECONDS, MAX_ROWS, PostgresqlDirectory
from proxy.subject.register import PostgresqlQuery
from tests.support.lookups import JP, TW, an_asked

QUERY = "SELECT id, country FROM users WHERE id = ANY({ids}::bigint[])"


class DataError(Exception):
    """As of the library."""


class Library(ModuleType):
    """As much of asyncpg as is used, with a database that is a mapping."""

    DataError = DataError

    def __init__(self) -> None:
        super().__init__("asyncpg")
        self.rows: list[tuple[str, str | None]] = [("1", "JP"), ("2", "TW")]
        self.error: BaseException | None = None
        self.made: list[Session] = []
        self.said: list[dict[str, Any]] = []

    async def connect(self, url: str, **said: Any) -> "Session":
        if url == "bad":
            raise ValueError("a URL with a password in it")
        self.said.append({"url": url, **said})
        self.made.append(Session(self))
        return self.made[-1]


class Session:
    """A connection."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.asked: list[tuple[Any, ...]] = []
        self.is_open = True

    async def fetch(self, *asked: Any) -> list[tuple[str, str | None]]:
        self.asked.append(asked)
        await asyncio.sleep(0)
        if self.library.error is not None:
            raise self.library.error
        return [row for row in self.library.rows if row[0] in asked[1]]

    def terminate(self) -> None:
        self.is_open = False

    def is_closed(self) -> bool:
        return not self.is_open


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found = Library()
    monkeypatch.setitem(sys.modules, "asyncpg", found)
    return found


def make(how: PostgresqlQuery | None = None, **changes: Any) -> PostgresqlDirectory:
    how = how or PostgresqlQuery("postgresql://h/d", QUERY)
    return PostgresqlDirectory(an_asked(how, **changes), how, None)


async def test_ids_are_one_parameter(library: Library) -> None:
    assert await make(timeout_seconds=0.25).ask(["1", "2", "3"]) == {"1": JP, "2": TW}
    ((statement, ids, most),) = library.made[0].asked
    assert "= ANY($1::text[]::bigint[])" in statement
    assert (ids, most) == (["1", "2", "3"], 3 * MAX_ROWS + 1)
    (said,) = library.said
    assert said["timeout"] == 0.25
    assert said["server_settings"]["default_transaction_read_only"] == "on"
    assert said["server_settings"]["statement_timeout"] == "250"
    assert not said.keys() & {"password", "ssl"}


async def test_a_connection_is_used_again_unless_it_is_closed_or_old(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, now = make(), [1000.0]
    monkeypatch.setattr(postgresql_directory, "elapsed_seconds", lambda: now[0])
    for _ in range(3):
        await directory.ask(["1"])
    assert len(library.made) == 1
    library.made[0].is_open = False
    await directory.ask(["1"])
    assert len(library.made) == 2
    now[0] += LIFETIME_SECONDS
    await directory.ask(["1"])
    assert len(library.made) == 3
    assert not library.made[1].is_open
    await directory.close()
    assert not library.made[2].is_open


@pytest.mark.parametrize("error", [OSError(), TimeoutError(), RuntimeError(), asyncio.CancelledError()])
async def test_a_connection_whose_question_broke_off_is_closed(library: Library, error: BaseException) -> None:
    directory = make()
    library.error = error
    with pytest.raises(type(error)):
        await directory.ask(["1"])
    assert not library.made[0].is_open
    library.error = None
    assert await directory.ask(["1"]) == {"1": JP}
    assert len(library.made) == 2


async def test_an_id_that_is_none_of_its_kind_is_not_known(library: Library) -> None:
    directory = make()
    library.error = DataError()
    assert await directory.ask(["abc"]) == {}
    with pytest.raises(ValueError, match="none of the kind"):
        await directory.ask(["1", "abc"])
    library.error = None
    assert await directory.ask(["1"]) == {"1": JP}
    assert len(library.made) == 1, "the session is sound"


async def test_an_answer_is_bounded(library: Library) -> None:
    library.rows = [("1", "JP")] * (MAX_ROWS + 1)
    with pytest.raises(ValueError, match="more than 16"):
        await make().ask(["1"])


async def test_secrets_are_read_for_each_connection(library: Library, tmp_path: Path) -> None:
    password, url = tmp_path / "password", tmp_path / "url"
    password.write_text("first")
    url.write_text("postgresql://u:s3cret@h/d")
    directory = make(PostgresqlQuery("", QUERY, f"file:{url}", f"file:{password}"))
    directory.check()
    await directory.ask(["1"])
    await directory.close()
    password.write_text("second")
    await directory.ask(["1"])
    assert [said["password"] for said in library.said] == ["first", "second"]
    assert {said["url"] for said in library.said} == {"postgresql://u:s3cret@h/d"}
    await directory.close()
    url.write_text("bad")
    with pytest.raises(FetchError, match=r"^its URL cannot be used$"):
        await directory.ask(["1"])
    for file in (password, url):
        file.unlink()
        with pytest.raises(FetchError, match="the secret cannot be read"):
            directory.check()


def test_its_library_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(FetchError, match=r"install sekisho\[postgresql\]"):
        make().check()


def test_the_file_of_its_ca_is_looked_at(library: Library, tmp_path: Path) -> None:
    how = PostgresqlQuery("postgresql://h/d", QUERY)
    with pytest.raises(FetchError, match="SEKISHO_LOOKUP_CA"):
        PostgresqlDirectory(an_asked(how), how, tmp_path / "none.pem").check()


def test_ids_are_split() -> None:
    assert [*make(batch=2).split(["1", "2", "3"])] == [["1", "2"], ["3"]]
