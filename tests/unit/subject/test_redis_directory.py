# SPDX-License-Identifier: Apache-2.0
import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError

from proxy.errors import FetchError
from proxy.model.country import CountryForm
from proxy.model.json_path import parse_json_path
from proxy.model.subject import Located, Told
from proxy.subject.redis_directory import MAX_VALUE_BYTES, RedisDirectory
from proxy.subject.register import RedisKey
from proxy.subject.told import FAILED, NOT_FOUND
from tests.support.lookups import JP, TW, an_asked
from tests.support.redis_server import FakeRedis, serve_fake_redis
from tests.support.world import wait_for

BOTH = Located(Told.FOUND, ("JP", "TW"))
WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def hold(**values: bytes) -> Callable[[bytes], bytes]:
    """Return what answers with these values by id, each in the key of a user's country."""
    return lambda key: bulk(values.get(key.decode().split(":")[1], b""))


@contextlib.asynccontextmanager
async def opened(
    *, select: str | None = None, password: str = "", ca: Path | None = None, **changes: Any
) -> AsyncIterator[tuple[FakeRedis, RedisDirectory]]:
    """Serve a Redis, and yield it with what asks it."""
    async with serve_fake_redis() as (fake, url):
        how = RedisKey(url, "user:{id}:country", None if select is None else parse_json_path(select), password)
        directory = RedisDirectory(an_asked(how, **changes), how, ca)
        try:
            yield fake, directory
        finally:
            await directory.close()


async def test_ids_are_asked_for_together() -> None:
    async with opened() as (fake, directory):
        fake.on_read = hold(a=b"JP", b=b"TW;JP", c=b"jp", d=b"\xff")
        assert await directory.ask(["a", "b", "c", "d", "e"]) == {
            "a": JP,
            "b": BOTH,
            "c": FAILED,
            "d": FAILED,
            "e": NOT_FOUND,
        }
        reads = [command for command in fake.commands if command[0] == b"GETRANGE"]
        assert reads == [[b"GETRANGE", b"user:%c:country" % id_, b"0", b"%d" % MAX_VALUE_BYTES] for id_ in b"abcde"]
        assert fake.connections == 1


async def test_a_value_may_be_a_document() -> None:
    async with opened(select="$.homes[*].country", form=CountryForm.LOWER) as (fake, directory):
        fake.on_read = hold(
            a=b'{"homes": [{"country": "jp"}, {"country": "tw"}]}',
            b=b'{"homes": []}',
            c=b'{"homes": [{"country": "jp", "country": "tw"}]}',
            d=b"jp",
        )
        told = await directory.ask(["a", "b", "c", "d"])
        assert told == {"a": BOTH, "b": NOT_FOUND, "c": FAILED, "d": FAILED}


async def test_an_id_is_a_part_of_a_key_and_of_nothing_else() -> None:
    async with opened() as (fake, directory):
        await directory.ask(["a b\r\nDEL x", "佐藤", "{id}"])
        assert [command[1].decode() for command in fake.commands if command[0] == b"GETRANGE"] == [
            "user:a b\r\nDEL x:country",
            "user:佐藤:country",
            "user:{id}:country",
        ]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(WRONG_TYPE, id="what is no text"),
        pytest.param(bulk(b"J" * (MAX_VALUE_BYTES + 1)), id="more than a value may have"),
        pytest.param(b"$-1\r\n", id="no text where there is always one"),
        pytest.param(b":1\r\n", id="a number"),
    ],
)
async def test_a_value_that_says_nothing_says_nothing_of_others(answer: bytes) -> None:
    async with opened() as (fake, directory):
        fake.on_read = lambda key: answer if b":a:" in key else bulk(b"JP")
        assert await directory.ask(["a", "b"]) == {"a": FAILED, "b": JP}
        assert await directory.ask(["b"]) == {"b": JP}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="it hangs up"),
        pytest.param(b"-LOADING Redis is loading the dataset in memory\r\n", id="it is loading"),
        pytest.param(b"-NOPERM this user has no permissions to run it\r\n", id="it refuses"),
        pytest.param(b"-NOAUTH Authentication required.\r\n", id="it wants a password"),
        pytest.param(b"what?\r\n", id="it speaks no RESP"),
    ],
)
async def test_a_server_that_does_not_answer(answer: bytes | None) -> None:
    async with opened() as (fake, directory):
        fake.on_read = lambda _: answer
        with pytest.raises((RedisError, OSError)):
            await directory.ask(["a", "b"])
        fake.on_read = hold(a=b"JP")
        assert await directory.ask(["a"]) == {"a": JP}
        assert fake.connections == 2, "the connection is not used again"


async def test_nobody_is_given_the_answers_to_a_question_that_broke_off() -> None:
    async with opened() as (fake, directory):
        go_on = asyncio.Event()

        async def answer_late(_: bytes) -> bytes:
            await go_on.wait()
            return bulk(b"JP")

        fake.on_read = answer_late
        question = asyncio.ensure_future(directory.ask(["a", "b"]))
        await wait_for(lambda: any(command[0] == b"GETRANGE" for command in fake.commands))
        question.cancel()
        with pytest.raises(asyncio.CancelledError):
            await question
        fake.on_read = hold(a=b"TW", b=b"TW", c=b"TW")
        go_on.set()
        for _ in range(3):
            assert await directory.ask(["a", "b", "c"]) == dict.fromkeys("abc", TW)


async def test_what_comes_unasked_is_nobodys_answer() -> None:
    async with opened() as (fake, directory):
        fake.on_read = lambda _: bulk(b"JP") * 2
        assert await directory.ask(["a"]) == {"a": JP}
        fake.on_read = hold(b=b"TW")
        await asyncio.sleep(0.05)
        assert await directory.ask(["b"]) == {"b": TW}


async def test_questions_at_once_have_connections_of_their_own() -> None:
    async with opened(at_once=4) as (fake, directory):
        fake.on_read = hold(a=b"JP", b=b"TW")
        said = await asyncio.gather(*(directory.ask(["a" if number % 2 else "b"]) for number in range(4)))
        assert said == [{"b": TW}, {"a": JP}] * 2
        assert 1 <= fake.connections <= 4


async def test_the_password_is_read_for_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    async with opened(password=f"file:{file}") as (fake, directory):
        directory.check()
        await directory.ask(["a"])
        await directory.close()
        file.write_text("second\n")
        await directory.ask(["a"])
        auths = [command for command in fake.commands if command[0] == b"AUTH"]
        assert auths == [[b"AUTH", b"first"], [b"AUTH", b"second"]]
        file.unlink()
        with pytest.raises(FetchError, match="cannot be read"):
            directory.check()


async def test_a_server_that_is_not_there() -> None:
    async with opened() as (_, directory):
        pass
    with pytest.raises((RedisError, OSError)):
        await directory.ask(["a"])
    await directory.close()


@pytest.mark.parametrize(("url", "words"), [("redis://h", "no rediss://"), ("rediss://h", "cannot be read")])
def test_a_ca_that_cannot_be(url: str, words: str, tmp_path: Path) -> None:
    how = RedisKey(url, "{id}", None)
    with pytest.raises(FetchError, match=words):
        RedisDirectory(an_asked(how), how, tmp_path / "none.pem").check()


def test_ids_are_split() -> None:
    how = RedisKey("redis://h", "{id}", None)
    assert [*RedisDirectory(an_asked(how, batch=2), how, None).split(["1", "2", "3"])] == [["1", "2"], ["3"]]
