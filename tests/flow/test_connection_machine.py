# SPDX-License-Identifier: Apache-2.0
"""Any order of events between callers, an API, the disk and time: each request ends once, and nothing leaves untold.

The gateway is the real one on the reference bundle, with real tokens; its ends are in the machine's hands. What the
bench watches at each byte that leaves is said there: order, records, and whose answer it is.
"""

import asyncio
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.clock import elapsed_seconds
from proxy.gateway.connection import MAX_HELD_BYTES, WRITE_HIGH_BYTES
from proxy.model.decision import Reason
from tests.support.command import write_policies
from tests.support.crossings import CHAT, MARKS, MORE_ROUTES, Ask, Bench, Caller, a_request, an_update
from tests.support.passages import a_checkpoint
from tests.support.world import ENGINEER

CALLERS: Final = 2
LARGEST: Final = 40_000
"""Bytes that an API gives at once."""
UNASKED: Final = 2
"""How often an API goes on that was told to pause: what was read from it already."""
MAX_BODY: Final = 100_000
_CHUNKS: Final = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n"


def _read(user: str, *fields: str, **changes: Any) -> bytes:
    return a_request(f"/v1/jp/users/{user}", *fields, **changes)


def _update(user: str, *fields: str, body: bytes = b"") -> bytes:
    return an_update(*fields, body=body, target=f"/v1/jp/users/{user}/phone")


REQUESTS: Final[dict[str, Callable[[str], bytes]]] = {
    "read": _read,
    "one more": _read,
    "denied": lambda user: _read(user, claims=ENGINEER),
    "of nobody": lambda user: _read(user, claims=None),
    "head": lambda user: _read(user, method="HEAD"),
    "old": lambda user: _read(user, version="1.0"),
    "old and kept": lambda user: _read(user, "Connection: keep-alive", version="1.0"),
    "last": lambda user: _read(user, "Connection: close"),
    "update": lambda user: _update(user, "Content-Length: 5", body=b"hello"),
    "in chunks": lambda user: _update(user, "Transfer-Encoding: chunked", body=_CHUNKS),
    "expects": lambda user: _update(user, "Expect: 100-continue", "Content-Length: 5", body=b"hello"),
    "large": lambda user: _update(user, f"Content-Length: {MAX_HELD_BYTES + 9}", body=b"x" * (MAX_HELD_BYTES + 9)),
    "too large": lambda user: _update(user, f"Content-Length: {MAX_BODY + 1}", body=b"x" * 99),
    "too large in chunks": lambda user: _update(
        user, "Transfer-Encoding: chunked", body=b"19000\r\n" + b"x" * 0x19000 + b"\r\n0\r\n\r\n"
    ),
    "broken chunks": lambda user: _update(user, "Transfer-Encoding: chunked", body=b"3\r\nabcdef\r\n"),
    "half": lambda user: _update(user, "Content-Length: 5", body=b"he"),
    "tunnel": lambda _: a_request(CHAT, "Connection: upgrade", "Upgrade: websocket"),
    "tunnel with a body": lambda _: a_request(
        CHAT, "Connection: upgrade", "Upgrade: websocket", "Content-Length: 2"
    ) + b"{}",
    "garbage": lambda _: b"\x00\r\n\r\n",
    "an empty line": lambda _: b"\r\n",
}  # fmt: skip


@functools.cache
def a_bundle() -> Snapshot:
    with tempfile.TemporaryDirectory() as folder:
        return load_bundle(write_policies(Path(folder) / "policies", *MORE_ROUTES))


@functools.cache
def key_sets() -> Any:
    return a_checkpoint(a_bundle()).keys.sets


class Crossings(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.methods: list[list[str]] = [[] for _ in range(CALLERS)]
        self.has_left = [False] * CALLERS
        self.overshot: dict[int, int] = {}
        self.users = 0
        self.bench: Bench
        self.run(self._begin)

    def run(self, act: Callable[[], object]) -> None:
        """Do something within the loop, and what it sets off at once."""

        async def within() -> None:
            act()

        self.runner.run(within())

    def _begin(self) -> None:
        self.bench = Bench(a_checkpoint(a_bundle()), max_request_body_bytes=MAX_BODY).__enter__()
        for _ in range(CALLERS):
            self.bench.connect()

    def teardown(self) -> None:
        try:
            self.runner.run(self.bench.finish())
            for which, caller in enumerate(self.bench.callers):
                self.bench.check_answers(caller, self.methods[which], has_left=self.has_left[which])
        finally:
            self.bench.__exit__()
            self.runner.close()

    def _caller(self, which: int) -> Caller:
        return self.bench.callers[which]

    def _asks(self) -> list[Ask]:
        return [ask for ask in self.bench.apis.asked if not ask.is_over]

    def _tell(self, which: int, act: Callable[[Ask], None]) -> None:
        asks = self._asks()
        if not asks:
            return
        ask = asks[which % len(asks)]
        if ask.is_paused:  # what was read already may still be told
            self.overshot[ask.number] = self.overshot.get(ask.number, 0) + 1
            if self.overshot[ask.number] > UNASKED:
                return
        self.run(lambda: act(ask))

    # Callers.

    @initialize(kind=st.sampled_from(["read", "update", "in chunks", "tunnel"]), is_slow=st.booleans())
    def begin_somehow(self, kind: str, is_slow: bool) -> None:  # noqa: FBT001
        self.bench.disk.is_slow = is_slow
        self.send(kind, 0)
        self.deliver(0, MAX_HELD_BYTES)

    @rule(kind=st.sampled_from([*REQUESTS]), which=st.integers(0, CALLERS - 1))
    def send(self, kind: str, which: int) -> None:
        if len(self.bench.apis.asked) >= MARKS - CALLERS:
            return
        self.users += 1
        data = REQUESTS[kind](str(self.users))
        self.methods[which].append("HEAD" if data.startswith(b"HEAD") else "GET")
        self._caller(which).unread += data

    @rule(which=st.integers(0, CALLERS - 1), size=st.sampled_from([1, 40, 1000, MAX_HELD_BYTES, MAX_HELD_BYTES]))
    def deliver(self, which: int, size: int) -> None:
        self.run(lambda: self._caller(which).deliver(size))

    @rule(which=st.integers(0, CALLERS - 1))
    def deliver_all(self, which: int) -> None:
        for _ in range(4):
            self.deliver(which, MAX_HELD_BYTES)

    @rule(which=st.integers(0, CALLERS - 1))
    def take_nothing(self, which: int) -> None:
        self._caller(which).is_stuck = True

    @rule(which=st.integers(0, CALLERS - 1))
    def take(self, which: int) -> None:
        self.run(self._caller(which).take)

    @rule(which=st.integers(0, CALLERS - 1), how=st.sampled_from(["end", "lose"]), is_sure=st.integers(0, 3))
    def leave(self, which: int, how: str, is_sure: int) -> None:
        if is_sure == 0:
            self.has_left[which] = True
            self.run(getattr(self._caller(which), how))

    # The API.

    @rule(which=st.integers(0, 3))
    def make_ready(self, which: int) -> None:
        self._tell(which, Ask.ready)

    @rule(
        which=st.integers(0, 3),
        size=st.sampled_from([0, 1, 5, LARGEST]),
        now=st.sampled_from([None, None, 0, 1, LARGEST]),
        kind=st.sampled_from(["length", "chunked", "until close"]),
        status=st.sampled_from([200, 200, 200, 204, 304, 404]),
    )
    def answer(self, which: int, size: int, now: int | None, kind: str, status: int) -> None:
        self._tell(which, lambda ask: ask.answer(size, now=now, kind=kind, status=status))

    @rule(which=st.integers(0, 3), rest=st.sampled_from([0, 3]))
    def upgrade(self, which: int, rest: int) -> None:
        self._tell(which, lambda ask: ask.upgrade(rest))

    @rule(which=st.integers(0, 3), size=st.sampled_from([1, 2, LARGEST]))
    def give(self, which: int, size: int) -> None:
        self._tell(which, lambda ask: ask.send(size))

    @rule(which=st.integers(0, 3))
    def end(self, which: int) -> None:
        self._tell(which, Ask.end)

    @rule(which=st.integers(0, 3), reason=st.sampled_from([Reason.UPSTREAM_BROKEN, Reason.UPSTREAM_TIMEOUT]))
    def fail(self, which: int, reason: Reason) -> None:
        self._tell(which, lambda ask: ask.fail(reason))

    @rule(which=st.integers(0, 3), how=st.sampled_from([Ask.pause_upload, Ask.resume_upload]))
    def hold_back(self, which: int, how: Callable[[Ask], None]) -> None:
        self._tell(which, how)

    # What else happens.

    @rule(fails=st.sampled_from([False, False, False, True]))
    def disk_answers(self, *, fails: bool) -> None:
        self.run(lambda: self.bench.disk.finish(fails=fails))

    @rule(is_slow=st.booleans(), is_full=st.sampled_from([False, False, False, True]))
    def disk_changes(self, *, is_slow: bool, is_full: bool) -> None:
        self.bench.disk.is_slow, self.bench.disk.is_full = is_slow, is_full

    @rule(are_there=st.booleans())
    def keys_change(self, *, are_there: bool) -> None:
        self.bench.checkpoint.keys.sets = key_sets() if are_there else {}  # type: ignore[misc]

    @rule()
    def keys_come(self) -> None:
        self.run(self.bench.issuers.come)

    @rule(later=st.sampled_from([0.0, 0.0, 3.0, 11.0, 35.0, 65.0, 1e6]))
    def time_passes(self, later: float) -> None:
        self.run(lambda: self.bench.tick(later))

    @rule(is_denied=st.booleans())
    def policy_changes(self, *, is_denied: bool) -> None:
        checkpoint = a_checkpoint(a_bundle())
        if is_denied:
            checkpoint.keys.sets = {}  # type: ignore[misc]

        def revisit() -> None:
            for crossing in [*self.bench.gateway.under_way]:
                crossing.revisit(checkpoint, 0.0)

        self.run(revisit)

    @rule(which=st.integers(0, CALLERS - 1), is_sure=st.integers(0, 3))
    def stop(self, which: int, is_sure: int) -> None:
        connection = self._caller(which).connection
        self.run(lambda: connection.end_idle(elapsed_seconds() + 9, 1))
        if is_sure == 0:
            self.run(lambda: connection.cut(Reason.GATEWAY_STOPPING))

    @rule()
    def turn(self) -> None:
        self.run(lambda: None)

    # What holds all along.

    @invariant()
    def all_is_well(self) -> None:
        self.bench.check_troubles()
        gateway = self.bench.gateway
        for caller in self.bench.callers:  # memory is bounded
            assert caller.untaken < WRITE_HIGH_BYTES + (UNASKED + 2) * LARGEST
            assert len(caller.connection._buffer) <= 2 * MAX_HELD_BYTES
        under_way = [crossing._connection for crossing in gateway.under_way]
        assert len(under_way) == len(set(under_way)), "two requests of one connection at once"
        assert set(under_way) <= gateway.connections, "a request of nobody"
        assert sum(tally.requests for tally in gateway.limits._tallies.values()) == len(under_way)


TestCrossings = Crossings.TestCase
TestCrossings.settings = settings(
    max_examples=150,
    stateful_step_count=40,
)
