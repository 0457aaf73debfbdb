# SPDX-License-Identifier: Apache-2.0
"""Limits that two gateways share through a real Redis.

Needs Debian's ``redis-server``; run by ``make e2e``, not by ``make test``.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web

from proxy.model.counts import Counted, CountsNeeded
from proxy.telemetry import Metrics
from proxy.volume.options import VolumeOptions
from proxy.volume.scripts import PREFIX, SPARE
from proxy.volume.shared import SharedCounts
from tests.support.bundle_folder import a_bundle
from tests.support.certificates import SERVER, a_ca, a_leaf
from tests.support.command import reserve_port
from tests.support.counts import a_look, a_question
from tests.support.redis_server import RealRedis, run_redis
from tests.support.watch import poll
from tests.support.world import World, headers, run_world, serve_raw

DOCS: Final = Path(__file__).parents[2] / "docs"
LIMIT: Final = """\
  - id: ten-an-hour
    effect: deny
    when: {subject.country: JP, counts.country_subjects_1h: {gt: 10}}
  - id: elsewhere
    effect: allow
    when: {caller.affiliate: ly, subject.country: KR}
"""


PERMITTED: Final = re.findall(
    r"\+[a-z|]+", re.findall(r"`(~sekisho:\* [^`]+)`", (DOCS / "settings.md").read_text(encoding="utf-8"))[0]
)
"""What the page says that a user of its own needs."""


@contextlib.asynccontextmanager
async def asking(options: VolumeOptions) -> AsyncIterator[SharedCounts]:
    counts = SharedCounts(options, Metrics())
    try:
        yield counts
    finally:
        await counts.close()


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RealRedis]:
    async with run_redis(tmp_path) as redis:
        yield redis


@pytest.fixture
async def counts(redis: RealRedis) -> AsyncIterator[SharedCounts]:
    async with asking(VolumeOptions(counts=redis.url, counts_timeout_seconds=5)) as counts:
        yield counts


async def see(counts: SharedCounts, needed: CountsNeeded) -> int:
    await counts.ask(needed)
    assert needed.answer is not None
    assert needed.answer.numbers is not None
    return needed.answer.numbers[0]


async def deny(counts: SharedCounts, needed: CountsNeeded) -> None:
    """Take back what was seen, and wait until it is."""
    assert isinstance(needed.answer, Counted)
    counts.settle(needed, needed.answer, is_allowed=False)
    await asyncio.gather(*counts._under_way)


async def test_each_subject_counts_once_and_callers_apart(counts: SharedCounts) -> None:
    said = [await see(counts, a_question(member)) for member in ("a", "b", "a", "c")]
    assert said == [1, 2, 2, 3]
    assert await see(counts, a_question("a", caller="another")) == 1
    assert await see(counts, a_question("a", group="JP")) == 1


async def test_what_is_taken_back_does_not_count(counts: SharedCounts) -> None:
    await see(counts, a_question("a"))
    for _ in range(3):
        denied = a_question("b")
        assert await see(counts, denied) == 2
        await deny(counts, denied)
    assert await see(counts, a_question("c")) == 2


async def test_a_denied_request_takes_nobody_elses_place(counts: SharedCounts) -> None:
    """Two requests for one subject at once: the one that is denied was first, the other one is allowed."""
    denied, allowed = a_question("a"), a_question("a")
    assert [await see(counts, each) for each in (denied, allowed)] == [1, 1]
    await deny(counts, denied)
    assert await see(counts, a_question("b")) == 2


async def test_a_denied_request_does_not_prolong_what_was_read(redis: RealRedis, counts: SharedCounts) -> None:
    await see(counts, a_question("a"))
    key = PREFIX.decode() + "{" + a_question().counts[0].caller.hex() + "}:subjects_1h"
    member = a_question("a").counts[0].members[0].decode()
    before = await _score(redis, key, member)
    denied = a_question("a")
    await see(counts, denied)
    assert await _score(redis, key, member) != before
    await deny(counts, denied)
    assert await _score(redis, key, member) == before


async def _score(redis: RealRedis, key: str, member: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(redis.socket))
    words = [word.encode() for word in ("ZSCORE", key, member)]
    writer.write(b"*3\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
    length = await reader.readline()
    score = await reader.readexactly(int(length[1:]))
    writer.close()
    return score


async def test_many_at_once_find_no_more_places_than_there_are(counts: SharedCounts) -> None:
    questions = [a_question(f"{place}", at_most=11) for place in range(200)]
    numbers = await asyncio.gather(*(see(counts, each) for each in questions))
    assert sorted(numbers) == [*range(1, 11), *[11] * 190]
    for needed, number in zip(questions, numbers, strict=True):
        if number == 11:
            await deny(counts, needed)
    allowed = numbers.index(10)
    assert await see(counts, a_question(f"{allowed}", at_most=11)) == 10


async def test_many_members_are_seen_in_one_step_and_taken_back_in_one(counts: SharedCounts) -> None:
    await see(counts, a_question("a"))
    part = a_question("a", "b", "c")
    assert await see(counts, part) == 3
    await deny(counts, part)
    assert await see(counts, a_question("b", "d")) == 3


async def test_a_look_sees_nobody_and_leaves_nothing_behind(redis: RealRedis, counts: SharedCounts) -> None:
    assert await see(counts, a_look()) == 1
    assert await redis.ask("DBSIZE") == b":0\r\n"
    await see(counts, a_question("a", "b"))
    look = a_look()
    assert await see(counts, look) == 2
    await deny(counts, look)
    assert await see(counts, a_look()) == 2


async def test_a_window_slides_and_keys_end_with_it(redis: RealRedis, counts: SharedCounts) -> None:
    """Asked with a window of three seconds."""
    short = [b"1", b"3", b"101", b"1"]  # the word of the question, seconds, number, members

    async def numbers(member: bytes) -> int:
        raw = await counts._see(keys=[b"sekisho:{x}:short"], args=[*short, member])
        return int(raw[1])

    assert [await numbers(member) for member in (b"a", b"b")] == [1, 2]
    assert 3000 < int((await redis.ask("PTTL", "sekisho:{x}:short"))[1:]) <= 4000

    async def only_itself() -> bool:
        return await numbers(b"c") == 1

    await poll(only_itself)
    await wait_for_no_keys(redis)


async def wait_for_no_keys(redis: RealRedis) -> None:
    async def is_empty() -> bool:
        return await redis.ask("DBSIZE") == b":0\r\n"

    await poll(is_empty)


async def test_a_clock_that_goes_back_forgets_nothing(redis: RealRedis, counts: SharedCounts) -> None:
    key = PREFIX.decode() + "{" + a_question().counts[0].caller.hex() + "}:subjects_1h"
    ahead = 9 * 10**15  # the year 2255, in microseconds
    await redis.ask("ZADD", key, str(ahead), "from the future")
    assert [await see(counts, a_question(member)) for member in ("a", "b")] == [2, 3]
    assert int(await _score(redis, key, a_question("b").counts[0].members[0].decode())) == ahead + 2


async def test_a_tally_that_is_full_counts_as_the_largest(redis: RealRedis, counts: SharedCounts) -> None:
    key = PREFIX.decode() + "{" + a_question().counts[0].caller.hex() + "}:subjects_1h"
    await see(counts, a_question("a", at_most=3))
    now = (await _score(redis, key, a_question("a").counts[0].members[0].decode())).decode()
    for start in range(0, SPARE + 2, 1000):
        pairs = [word for place in range(start, start + 1000) for word in (now, f"old {place}")]
        await redis.ask("ZADD", key, *pairs)
    held = await redis.ask("ZCARD", key)
    assert await see(counts, a_question("b", at_most=3)) == 3
    assert await see(counts, a_question("c", at_most=3)) == 3
    assert int((await redis.ask("ZCARD", key))[1:]) == int(held[1:]) + 1, "the mark alone was added"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param(["--maxmemory", "100kb", "--maxmemory-policy", "noeviction"], "OutOfMemoryError", id="is full"),
        pytest.param(["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"], "noeviction", id="forgets"),
        pytest.param(["--replicaof", "127.0.0.1", "1"], "ReadOnlyError", id="is a replica"),
        pytest.param(["--requirepass", "word"], "AuthenticationError", id="wants a password"),
    ],
)
async def test_nobody_is_counted_by_a_server_that(
    tmp_path: Path, arguments: list[str], error: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        run_redis(tmp_path, *arguments) as redis,
        asking(VolumeOptions(counts=redis.url, counts_timeout_seconds=5)) as counts,
    ):
        needed = a_question()
        await counts.ask(needed)
    assert needed.answer is None
    (record,) = caplog.records
    assert error in record.__dict__["error"]


async def test_over_tls_with_a_user_of_its_own(tmp_path: Path) -> None:
    ca, years = a_ca(), 9 * 365 * 86400.0
    leaf = a_leaf(ca, "localhost", usages=(SERVER,), since=-years, until=years)
    certificate, key = leaf.write(tmp_path, "redis")
    authority, _ = ca.write(tmp_path, "ca")
    secret = tmp_path / "password"
    secret.write_text("word\n", encoding="utf-8")
    with reserve_port() as port:
        arguments = ["--tls-port", str(port), "--bind", "127.0.0.1", "--tls-auth-clients", "no"]
        arguments += [
            "--tls-cert-file",
            str(certificate),
            "--tls-key-file",
            str(key),
            "--tls-ca-cert-file",
            str(authority),
        ]
        arguments += ["--user", "gateway", "on", ">word", "~sekisho:*", *PERMITTED]
        async with run_redis(tmp_path, *arguments):
            named: dict[str, Any] = {"counts": f"rediss://gateway@localhost:{port}/0", "counts_timeout_seconds": 5}
            right = VolumeOptions(**named, counts_ca=authority, counts_password_file=secret)
            async with asking(right) as counts:
                assert await see(counts, a_question()) == 1
            stranger = VolumeOptions(**named, counts_password_file=secret)
            async with asking(stranger) as counts:
                needed = a_question()
                await counts.ask(needed)
                assert needed.answer is None, "its CA is not trusted"


async def test_a_password_is_replaced_while_callers_are_counted(tmp_path: Path) -> None:
    """Both are valid, then the file says the new one, then the old one ends: nobody is left uncounted."""
    secret = tmp_path / "password"
    secret.write_text("old", encoding="utf-8")
    with reserve_port() as port:
        user = ("--user", "gateway", "on", ">old", "~sekisho:*", *PERMITTED)
        async with run_redis(tmp_path, "--port", str(port), "--bind", "127.0.0.1", *user) as redis:
            place = f"redis://gateway@localhost:{port}/0"
            async with asking(
                VolumeOptions(counts=place, counts_password_file=secret, counts_timeout_seconds=5)
            ) as counts:
                said = [await see(counts, a_question("a"))]
                assert await redis.ask("ACL", "SETUSER", "gateway", ">new") == b"+OK\r\n"
                secret.write_text("new", encoding="utf-8")
                said.append(await see(counts, a_question("b")))
                assert await redis.ask("ACL", "SETUSER", "gateway", "<old") == b"+OK\r\n"
                assert await redis.ask("CLIENT", "KILL", "USER", "gateway") != b":0\r\n"
                said.append(await see(counts, a_question("c")))
                assert said == [1, 2, 3]

                await redis.ask("ACL", "SETUSER", "gateway", "resetpass", ">newest")  # in the wrong order
                await redis.ask("CLIENT", "KILL", "USER", "gateway")
                uncounted = a_question("d")
                await counts.ask(uncounted)
                assert uncounted.answer is None
                secret.write_text("newest", encoding="utf-8")
                assert await see(counts, a_question("d")) == 4


@contextlib.asynccontextmanager
async def two_gateways(folder: Path, redis: RealRedis) -> AsyncIterator[tuple[World, World]]:
    """Two replicas with one bundle, one key of pseudonyms, and one Redis."""
    (folder / "bundle").mkdir()
    a_bundle(folder / "bundle", rules=LIMIT)

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.json_response({"name": "A"})

    flags: dict[str, Any] = {"policies": folder / "bundle", "counts": redis.url, "counts_timeout_seconds": 5.0}
    async with contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(serve_raw(answer))
        worlds: list[World] = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            flags["pseudonym_key"] = worlds[0].ledger.parent / "pseudonym.key" if worlds else None
            given = {flag: value for flag, value in flags.items() if value is not None}
            worlds.append(await stack.enter_async_context(run_world(folder / name, api, **given)))
        yield worlds[0], worlds[1]


async def statuses(worlds: Iterable[World], targets: Iterable[str]) -> list[int]:
    """Ask for all targets at once, of each gateway in turn."""
    sent = headers()
    async with aiohttp.ClientSession() as session:

        async def ask(world: World, target: str) -> int:
            async with session.get(world.url + target, headers={**sent, "Host": "users.internal"}) as answer:
                await answer.read()
                return answer.status

        pairs = zip(_in_turn(list(worlds)), targets, strict=False)
        return await asyncio.gather(*(ask(world, target) for world, target in pairs))


def _in_turn(worlds: list[World]) -> Iterable[World]:
    while True:
        yield from worlds


async def test_two_gateways_share_one_limit_also_under_many_requests_at_once(tmp_path: Path, redis: RealRedis) -> None:
    async with two_gateways(tmp_path, redis) as worlds:
        said = await statuses(worlds, [f"/v1/jp/users/{user}" for user in range(60)])
        assert sorted(said) == [200] * 10 + [403] * 50
        for world in worlds:
            rules = {line["rule"] for line in world.decisions() if line["effect"] == "deny"}
            assert rules == {"ten-an-hour"}
        assert await statuses(worlds, [f"/v1/jp/users/{1000 + user}" for user in range(4)]) == [403] * 4


async def test_without_redis_whoever_is_limited_gets_503_and_nobody_else(tmp_path: Path, redis: RealRedis) -> None:
    async with two_gateways(tmp_path, redis) as (world, other):
        assert await statuses([world], ["/v1/jp/users/1", "/v1/kr/users/1"]) == [200, 200]
        redis.stop()
        assert await statuses([world, other], ["/v1/jp/users/1", "/v1/jp/users/2", "/v1/kr/users/1"]) == [503, 503, 200]
        refused = [line for line in world.decisions() if line["effect"] == "deny"]
        assert {(line["reason"], line["rule"], line["certainty"]) for line in refused} == {
            ("counts-unavailable", "ten-an-hour", "by-unknown")
        }
        async with aiohttp.ClientSession() as session, session.get(f"{world.admin}/metrics") as answer:
            assert "sekisho_counts_unavailable 1.0" in await answer.text()
        await redis.start()

        async def is_back() -> bool:
            return (await statuses([world], ["/v1/jp/users/1"])) == [200]

        await poll(is_back)


async def test_redis_holds_nothing_that_names_anybody(tmp_path: Path, redis: RealRedis) -> None:
    async with two_gateways(tmp_path, redis) as worlds:
        assert await statuses(worlds, ["/v1/jp/users/4242424242"]) == [200]
    assert await redis.ask("SAVE") == b"+OK\r\n"
    (dump,) = tmp_path.glob("*.rdb")
    held = dump.read_bytes()
    assert b"sekisho:{" in held
    assert not [word for word in (b"4242424242", b"alice", b"corp|", b"users/") if word in held]
