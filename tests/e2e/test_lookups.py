# SPDX-License-Identifier: Apache-2.0
"""Lookups in a real PostgreSQL and a real Redis.

Needs Debian's ``postgresql`` and ``redis-server``, and ``sekisho[postgresql]``; run by ``make e2e``, not by ``make
test``.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.clock import unix_seconds
from proxy.model.country import CountryForm
from proxy.model.json_path import parse_json_path
from proxy.model.subject import Located, LookupNeeded, Told
from proxy.subject.directory import HeldDirectory
from proxy.subject.options import SubjectOptions
from proxy.subject.postgresql_directory import MAX_ROWS, PostgresqlDirectory
from proxy.subject.redis_directory import MAX_VALUE_BYTES, RedisDirectory
from proxy.subject.register import PostgresqlQuery, RedisKey
from proxy.subject.told import FAILED, NOT_FOUND
from proxy.telemetry import Metrics
from tests.support.command import reserve_port
from tests.support.lookups import JP, TW, an_asked
from tests.support.postgresql_server import PASSWORD, RealPostgresql, run_postgresql
from tests.support.redis_server import run_redis

BACK_SECONDS: Final = 60
"""Within which a server that was started again is asked again."""
BOTH: Final = Located(Told.FOUND, ("JP", "TW"))
QUERY: Final = "SELECT id, country FROM users WHERE id = ANY({ids})"
NUMBERS: Final = "SELECT number, country FROM accounts WHERE number = ANY({ids}::bigint[])"
TABLES: Final = (
    "CREATE TABLE users (id text, country text)",
    "INSERT INTO users VALUES ('1', 'JP'), ('2', 'JP;TW'), ('3', 'JP'), ('3', 'TW'), ('4', NULL), ('5', 'jp')",
    "CREATE TABLE accounts (number bigint PRIMARY KEY, country char(2))",
    "INSERT INTO accounts SELECT n, CASE n % 2 WHEN 0 THEN 'JP' ELSE 'TW' END FROM generate_series(1, 5000) AS n",
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RealPostgresql]:
    with reserve_port() as port:
        async with run_postgresql(port) as server:
            for statement in TABLES:
                await server.run(statement)
            (tmp_path / "password").write_text(PASSWORD)
            yield server


@contextlib.asynccontextmanager
async def opened(
    server: RealPostgresql, tmp_path: Path, query: str = QUERY, **changes: Any
) -> AsyncIterator[PostgresqlDirectory]:
    how = PostgresqlQuery(server.url, query, "", f"file:{tmp_path}/password")
    directory = PostgresqlDirectory(an_asked(how, **changes), how, None)
    directory.check()
    try:
        yield directory
    finally:
        await directory.close()


async def test_ids_are_asked_for_together(server: RealPostgresql, tmp_path: Path) -> None:
    async with opened(server, tmp_path) as directory:
        told = await directory.ask(["1", "2", "3", "4", "5", "6"])
    assert told == {"1": JP, "2": BOTH, "3": BOTH, "4": NOT_FOUND, "5": FAILED}


async def test_a_query_casts_what_its_column_needs(server: RealPostgresql, tmp_path: Path) -> None:
    async with opened(server, tmp_path, NUMBERS) as directory:
        ids = [str(number) for number in range(4500, 5500)]
        told = await directory.ask(ids)
        assert told == {id_: TW if int(id_) % 2 else JP for id_ in ids if int(id_) <= 5000}
        assert not (await directory.ask(["007"])).keys() & {"007"}, "7 is another text"
        assert await directory.ask(["abc"]) == {}, "no number is called so"
        with pytest.raises(ValueError, match="kind"):
            await directory.ask(["7", "abc"])
        assert await directory.ask(["7"]) == {"7": TW}
        assert len(directory._idle) == 1, "the session is the same"


async def test_an_id_is_never_a_part_of_the_query(server: RealPostgresql, tmp_path: Path) -> None:
    async with opened(server, tmp_path) as directory:
        for id_ in ("') OR 1=1 --", "'; DROP TABLE users; --", "{1,2}", '"', "$1", "NULL", "\\"):
            assert await directory.ask([id_, "1"]) == {"1": JP}


async def test_sessions_are_read_only(server: RealPostgresql, tmp_path: Path) -> None:
    query = "WITH gone AS (DELETE FROM users WHERE id = ANY({ids}) RETURNING *) SELECT id, country FROM gone"
    async with opened(server, tmp_path, query) as directory:
        with pytest.raises(Exception, match=r"WITH clause containing a data-modifying statement|read-only"):
            await directory.ask(["1"])
    writing = "SELECT id, nextval('counter')::text FROM users WHERE id = ANY({ids})"
    await server.run("CREATE SEQUENCE counter")
    async with opened(server, tmp_path, writing) as directory:
        with pytest.raises(Exception, match="read-only"):
            await directory.ask(["1"])
    assert len(await server.run("SELECT 1 FROM users")) == 6


async def test_an_answer_is_bounded(server: RealPostgresql, tmp_path: Path) -> None:
    query = "SELECT unnest({ids}), 'JP' FROM generate_series(1, 100000)"
    async with opened(server, tmp_path, query) as directory:
        with pytest.raises(ValueError, match=f"more than {MAX_ROWS}"):
            await directory.ask(["1"])


async def test_a_statement_ends_with_its_deadline(server: RealPostgresql, tmp_path: Path) -> None:
    query = "SELECT id, country FROM users, pg_sleep(60) WHERE id = ANY({ids})"
    async with opened(server, tmp_path, query, timeout_seconds=1.5) as directory:
        with pytest.raises(Exception, match="statement timeout"):
            await directory.ask(["1"])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await directory.ask(["1"])
        assert directory._idle == []
    async with asyncio.timeout(10):
        while await server.run(
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
        ):
            await asyncio.sleep(0.05)


async def test_a_password_that_is_changed_is_used(server: RealPostgresql, tmp_path: Path) -> None:
    async with opened(server, tmp_path) as directory:
        assert await directory.ask(["1"]) == {"1": JP}
        await server.run("ALTER USER sekisho PASSWORD 'second'")
        await directory.close()
        with pytest.raises(Exception, match="password authentication failed"):
            await directory.ask(["1"])
        (tmp_path / "password").write_text("second\n")
        assert await directory.ask(["1"]) == {"1": JP}


async def test_a_whole_url_may_be_a_secret(server: RealPostgresql, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(server.url.replace("sekisho@", f"sekisho:{PASSWORD}@"))
    how = PostgresqlQuery("", QUERY, f"file:{tmp_path}/url")
    directory = PostgresqlDirectory(an_asked(how), how, None)
    directory.check()
    assert await directory.ask(["1"]) == {"1": JP}
    await directory.close()


async def test_a_database_that_goes_away_mid_run_is_a_failure_until_it_is_back(
    server: RealPostgresql, tmp_path: Path
) -> None:
    how = PostgresqlQuery(server.url, NUMBERS, "", f"file:{tmp_path}/password")
    lookup = an_asked(how, id="crm", batch=10, timeout_seconds=5.0)
    directory = HeldDirectory({"crm": lookup}, SubjectOptions(), Metrics())

    async def look(first: int) -> set[Told]:
        ids = tuple(str(number) for number in range(first, first + 100))
        await directory.ask(LookupNeeded("crm", ids))
        found = {id_: directory.find("crm", id_, unix_seconds()) for id_ in ids}
        assert all(each in {FAILED, TW if int(id_) % 2 else JP} for id_, each in found.items())
        return {each.told for each in found.values() if each is not None}

    try:
        assert await look(1) == {Told.FOUND}
        server.stop()
        assert await look(201) == {Told.FAILED}
        assert await look(1) == {Told.FOUND}, "what was said is believed as long as it is fresh"
        await server.start()
        async with asyncio.timeout(BACK_SECONDS):
            first = 301
            while await look(first) != {Told.FOUND}:
                first += 100
                await asyncio.sleep(0.3)
    finally:
        await directory.close()


async def test_a_real_redis_says_the_same_as_the_one_of_the_tests(tmp_path: Path) -> None:
    async with run_redis(tmp_path) as redis:
        for words in (
            ("SET", "user:a:country", "JP"),
            ("SET", "user:b:country", "TW;JP"),
            ("SET", "user:c:country", "nowhere"),
            ("SET", "user:d:country", ""),
            ("RPUSH", "user:e:country", "JP"),
            ("SET", "user:f:country", "J" * (MAX_VALUE_BYTES + 1)),
            ("SET", "user:佐藤:country", "JP"),
        ):
            await redis.ask(*words)
        how = RedisKey(redis.url, "user:{id}:country", None)
        directory = RedisDirectory(an_asked(how), how, None)
        told = await directory.ask([*"abcdefg", "佐藤"])
        missing = dict.fromkeys("dg", NOT_FOUND)
        assert told == {"a": JP, "b": BOTH, "c": FAILED, "e": FAILED, "f": FAILED, "佐藤": JP, **missing}
        await directory.close()


async def test_the_page_says_what_a_user_of_redis_needs(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "lookups.md").read_text(encoding="utf-8")
    (permission,) = re.findall(r"needs `(\+[a-z]+)`, and `~user:\*`", page)
    (tmp_path / "password").write_text("s3cret")
    with reserve_port() as port:
        async with run_redis(tmp_path, "--port", str(port)) as redis:
            await redis.ask("SET", "user:a:country", "JP")
            await redis.ask("ACL", "SETUSER", "reader", "on", ">s3cret", "~user:*", permission)
            key, password = "user:{id}:country", f"file:{tmp_path}/password"
            how = RedisKey(f"redis://reader@127.0.0.1:{port}/0", key, None, password)
            directory = RedisDirectory(an_asked(how), how, None)
            assert await directory.ask(["a", "b"]) == {"a": JP, "b": NOT_FOUND}
            await directory.close()


async def test_documents_in_a_real_redis(tmp_path: Path) -> None:
    async with run_redis(tmp_path) as redis:
        await redis.ask("SET", "a", '{"country": "jpn"}')
        await redis.ask("SET", "b", '{"country": "JPN"}')
        how = RedisKey(redis.url, "{id}", parse_json_path("$.country"))
        directory = RedisDirectory(an_asked(how, form=CountryForm.ALPHA3), how, None)
        assert await directory.ask(["a", "b"]) == {"a": FAILED, "b": JP}
        await directory.close()


async def test_a_redis_that_goes_away_is_a_failure_until_it_is_back(tmp_path: Path) -> None:
    async with run_redis(tmp_path) as redis:
        how = RedisKey(redis.url, "user:{id}", None)
        directory: HeldDirectory = HeldDirectory({"cache": an_asked(how, id="cache")}, SubjectOptions(), Metrics())

        async def look(id_: str) -> Located | None:
            await redis.ask("SET", f"user:{id_}", "JP") if redis.process is not None else None
            await directory.ask(LookupNeeded("cache", (id_,)))
            return directory.find("cache", id_, unix_seconds())

        try:
            assert await look("1") == JP
            redis.stop()
            assert [await look(str(number)) for number in range(2, 9)] == [FAILED] * 7
            assert await look("1") == JP
            await redis.start()
            ids = iter(range(10, 1000))
            results: list[Located | None] = []
            async with asyncio.timeout(BACK_SECONDS):
                while JP not in results:
                    results.append(await look(str(next(ids))))
                    await asyncio.sleep(0.1)
        finally:
            await directory.close()
