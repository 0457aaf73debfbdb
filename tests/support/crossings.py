# SPDX-License-Identifier: Apache-2.0
"""The data path with both ends in a test's hands: a caller's transport, APIs that answer when told to, and a disk.

What is watched all along: nothing leaves before its record, nothing of an API leaves where it was refused, and no
answer goes to another request than the one that it was given to.
"""

import asyncio
import functools
import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, cast

from proxy.clock import elapsed_seconds, unix_seconds
from proxy.errors import LedgerError
from proxy.gateway.connection import ClientConnection
from proxy.gateway.gateway import Gateway
from proxy.gateway.options import GatewayOptions
from proxy.gateway.ticker import Ticker
from proxy.gateway.upstream.exchange import NOBODY, Exchange, UpstreamRequest
from proxy.gateway.upstream.handle import UpstreamHandle
from proxy.gateway.wire.bodies import UntilCloseBody, response_body
from proxy.gateway.wire.heads import ResponseFrame, find_head_end, read_response
from proxy.ledger.entry import Rendered, encode_body
from proxy.model.api import Api, Upstream
from proxy.model.decision import Reason
from proxy.pipeline.checkpoint import Checkpoint
from proxy.telemetry import Metrics
from tests.support.passages import a_checkpoint
from tests.support.world import OFFICE, STAFF, SUPPORT, token

CHAT: Final = "/v1/jp/chat"
_ALLOW: Final = "      caller.kind: employee\n      resource.route: {any: [user, user-by-id, search-users, report]}\n"
MORE_ROUTES: Final = (
    ("apis/users.yaml", "    routes:\n", """\
    routes:
      - id: chat
        methods: [GET]
        path: /v1/{country}/chat
        action: read
        upgrade: [websocket]
        subject: {country: "{country}", authoritative: {by: users-team, review_by: 2027-06-30}}
        parameters: {country: "[a-z]{2}"}

"""),
    (
        "apis/users.yaml",
        "methods: [GET]\n        path: /v1/{country}/users/{user_id}\n",
        "methods: [GET, HEAD]\n        path: /v1/{country}/users/{user_id}\n",
    ),
    ("rules/allow.yaml", _ALLOW, _ALLOW.replace("report", "report, chat")),
)  # fmt: skip
"""Of the reference bundle: for LY's staff, a route to be upgraded, and one that takes HEAD."""
FIRST_MARK: Final = 0x80
"""Bodies that APIs give are of one byte each, that no head and no problem document has: which one tells whose it is."""
MARKS: Final = 0x80
_HEAD: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [^\r]*\r\n((?:[^\r]+\r\n)*)\r\n")
_DECISION: Final = re.compile(rb"(?m)^Sekisho-Decision-Id: ([^\r]+)\r$")


def a_request(
    target: str = "/v1/jp/users/42", *fields: str, method: str = "GET", claims: Any = STAFF, version: str = "1.1"
) -> bytes:
    """Write a request of somebody who may; of nobody, where claims is None."""
    lines = [f"{method} {target} HTTP/{version}", "Host: a", f"X-Forwarded-For: {OFFICE}"]
    if claims is not None:
        lines.append(f"Authorization: Bearer {_token(claims)}")
    return "\r\n".join([*lines, *fields, "", ""]).encode()


def an_update(*fields: str, body: bytes = b"", target: str = "/v1/jp/users/42/phone", claims: Any = SUPPORT) -> bytes:
    """Write an update of somebody who may."""
    return a_request(target, *fields, method="PUT", claims=claims) + body


def _token(claims: dict[str, Any]) -> str:
    return _make_token(json.dumps(claims), unix_seconds() // 60)


@functools.lru_cache(maxsize=8)
def _make_token(claims: str, minute: float) -> str:
    del minute
    return token(json.loads(claims))


class Troubles(logging.Handler):
    """Keeps what may never be: a defect that the gateway has caught, or the loop."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append((record.getMessage(), record.exc_info))

    def note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.seen.append(context)


class Disk:
    """A ledger: it takes lines and has them on disk at once, or when it is told to, or it takes none."""

    def __init__(self) -> None:
        self.is_slow = False
        """Whether lines are durable only once ``finish`` is called."""
        self.is_full = False
        self.has_failed = False
        self.taken: list[dict[str, Any]] = []
        """In the order taken."""
        self.durable: list[dict[str, Any]] = []
        self._waiting: list[tuple[asyncio.Future[None], list[dict[str, Any]]]] = []

    def append(self, lines: Sequence[Any]) -> asyncio.Future[None] | None:
        if self.is_full:
            self.has_failed = True
            raise LedgerError("the disk is full")
        records = [_read(line) for line in lines]
        self.taken += records
        if not self.is_slow:
            self.durable += records
            return None
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((future, records))
        return future

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def finish(self, *, fails: bool = False) -> None:
        """Let the disk say yes, or no, of the lines that have waited longest."""
        if not self._waiting:
            return
        future, records = self._waiting.pop(0)
        if not fails:
            self.durable += records
        self.has_failed = self.has_failed or fails
        if future.done():
            return
        if fails:
            future.set_exception(LedgerError("the disk says no"))
            future.exception()
        else:
            future.set_result(None)

    def finish_all(self) -> None:
        while self._waiting:
            self.finish()

    def bytes_of(self, decision_id: str) -> int:
        """Return how many bytes of a body may have left, by what is on disk."""
        return max((line.get("bytes", 0) for line in self.durable if line["id"] == decision_id), default=0)

    def lines(self, decision_id: str, *, durable: bool = True) -> list[dict[str, Any]]:
        return [line for line in (self.durable if durable else self.taken) if line["id"] == decision_id]


def _read(line: Any) -> dict[str, Any]:
    body = line.body if isinstance(line, Rendered) else encode_body(line)
    record: dict[str, Any] = json.loads(body)
    return record


class Ask:
    """One request to an API, as the API sees it, which does what it is told to."""

    def __init__(self, number: int, request: UpstreamRequest, exchange: Exchange, queue: Any) -> None:
        self.number = number
        self.request = request
        self.handle = UpstreamHandle(request, exchange, queue)
        self.handle.carrier = self
        found = _DECISION.search(request.fields)
        assert found is not None, "an API is always told by which decision it is asked"
        self.decision_id = found[1].decode()
        self.body = b""
        self.is_uploaded = not self.handle.has_body
        self.is_paused = self.is_cancelled = self.is_answered = self.is_tunnel = self.is_ready = False
        self.given = 0
        """Bytes of the answer's body that the exchange was told of."""
        self.left: int | None = None
        self.size: int | None = None
        """Of the whole answer's body; None where it has no end yet."""

    @property
    def mark(self) -> bytes:
        return bytes([FIRST_MARK + self.number % MARKS])

    @property
    def is_over(self) -> bool:
        return self.handle.exchange is NOBODY

    # What the handle calls.

    def upload(self, data: bytes) -> None:
        assert self.is_ready, "parts of a body before they were asked for"
        assert not self.is_uploaded, "a part behind the end"
        self.body += data
        assert self.request.length is None or self.is_tunnel or len(self.body) <= self.request.length

    def end_upload(self) -> None:
        assert self.request.length is None or self.is_tunnel or len(self.body) == self.request.length
        self.is_uploaded = True

    def pause_answer(self) -> None:
        self.is_paused = True

    def resume_answer(self) -> None:
        self.is_paused = False

    def give_up(self) -> None:
        self.is_cancelled = True
        self.handle.carrier = None

    # What the API does.

    def ready(self) -> None:
        if self.handle.has_body and not self.is_ready and not self.is_over and not self.is_answered:
            self.is_ready = True
            self.handle.exchange.upstream_ready()

    def answer(self, size: int = 3, *, now: int | None = None, kind: str = "length", status: int = 200) -> None:
        """Begin to answer.

        Args:
            size: of the body.
            now: how much of it comes with the head; None: all.
            kind: ``length``, ``chunked`` or ``until close``.
            status: of the answer.
        """
        if self.is_over or self.is_answered:
            return
        self.is_answered = True
        if self.request.method == "HEAD" or status in {204, 304}:
            now = None
        framing = {"length": b"Content-Length: %d\r\n" % size, "chunked": b"Transfer-Encoding: chunked\r\n"}
        field = b"" if status == 204 else framing.get(kind, b"")
        frame = read_response(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, field))
        assert frame is not None
        has_body = self.request.method != "HEAD" and status not in {204, 304}
        size = size if has_body else 0
        at_once = size if now is None else min(now, size)
        is_whole = now is None or (kind == "length" and at_once == size)
        self.given, self.left, self.size = at_once, size - at_once, size
        exchange = self.handle.exchange
        if is_whole:
            self.handle.exchange, self.handle.carrier = NOBODY, None
        exchange.upstream_answered(frame, self.mark * at_once, is_whole=is_whole)

    def upgrade(self, rest: int = 0) -> None:
        if not self.request.upgrade or self.is_over or self.is_answered:
            return
        self.is_answered = self.is_tunnel = self.is_ready = True
        self.is_uploaded = False
        self.given, self.left = rest, 1 << 40
        frame: ResponseFrame | None = read_response(
            b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: %b\r\n\r\n" % self.request.upgrade.encode()
        )
        assert frame is not None
        self.handle.exchange.upstream_upgraded(frame, self.mark * rest)

    def send(self, size: int) -> None:
        if self.is_over or not self.is_answered or self.left is None:
            return
        size = min(size, self.left)
        if size:
            self.left -= size
            self.given += size
            self.handle.exchange.upstream_sent(self.mark * size)

    def end(self) -> None:
        """Give the rest, and the end."""
        if self.is_over or not self.is_answered:
            return
        if not self.is_tunnel:
            self.send(self.left or 0)
        if not self.is_over:
            self.handle.carrier = None
            self.handle.finish()

    def fail(self, reason: Reason = Reason.UPSTREAM_BROKEN) -> None:
        if not self.is_over:
            self.handle.fail(reason)

    def pause_upload(self) -> None:
        if self.is_ready and not self.is_over and not self.is_uploaded:
            self.handle.exchange.pause_upload()

    def resume_upload(self) -> None:
        if self.is_ready and not self.is_over and not self.is_uploaded:
            self.handle.exchange.resume_upload()


class Apis:
    """Stands for the connections to the APIs."""

    def __init__(self) -> None:
        self.asked: list[Ask] = []

    def begin(self, api: Api, upstream: Upstream, request: UpstreamRequest, exchange: Exchange) -> UpstreamHandle:
        del api, upstream
        ask = Ask(len(self.asked), request, exchange, self)
        assert ask.decision_id not in {other.decision_id for other in self.asked}, "one decision, two requests"
        self.asked.append(ask)
        return ask.handle

    def abandon(self, handle: UpstreamHandle) -> None:
        raise AssertionError("nobody waits here")


class Issuers:
    """Stands for the fetches of keys: they end when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        self.changed_at = 0.0
        self.refused_at = 0.0

    async def refresh(self, _what: object) -> None:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        await future

    def come(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(None)
        self.waiting.clear()


class Caller(asyncio.Transport):
    """A caller's end of a connection: it keeps all that is written, and takes of it what a test lets it."""

    def __init__(self, bench: "Bench") -> None:
        super().__init__({"peername": (OFFICE, 40000), "socket": None, "ssl_object": None})
        self._bench = bench
        self.connection: ClientConnection
        self.written = b""
        self.untaken = 0
        """Bytes that wait to be taken."""
        self.is_stuck = False
        """Whether the caller takes nothing."""
        self.is_paused = self.is_over = self.is_lost = self.is_aborted = self.has_ended = False
        self._high = 64 * 1024
        self._has_paused_writer = False
        self.unread = b""
        """What the caller has sent, and the gateway has not read yet."""

    # As the gateway uses it.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.has_ended, "written behind the end"
        if self.is_over or not data:
            return
        self._bench.watch(bytes(data))
        self.written += bytes(data)
        if self.is_stuck:
            self.untaken += len(data)
            if self.untaken > self._high and not self._has_paused_writer:
                self._has_paused_writer = True
                self.connection.pause_writing()

    def is_closing(self) -> bool:
        return self.is_over

    def close(self) -> None:
        if not self.is_over:
            self.is_over = True
            self._end_if_taken()

    def abort(self) -> None:
        self.untaken = 0
        self.is_over = self.is_aborted = True
        self._end_if_taken()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_ended = True

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_reading(self) -> bool:
        return not self.is_paused

    def get_write_buffer_size(self) -> int:
        return self.untaken

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del low
        self._high = high if high is not None else self._high

    # As the loop and the caller do.

    def _end_if_taken(self) -> None:
        if self.is_over and not self.untaken:
            asyncio.get_running_loop().call_soon(self.lose)

    def lose(self) -> None:
        """Tell the gateway that the connection is gone."""
        if not self.is_lost:
            self.is_lost = self.is_over = True
            self.connection.connection_lost(None)

    def take(self) -> None:
        """Take all that was written, and go on taking."""
        self.is_stuck, self.untaken = False, 0
        if self._has_paused_writer and not self.is_lost:
            self._has_paused_writer = False
            self.connection.resume_writing()
        self._end_if_taken()

    def deliver(self, size: int = 1 << 30) -> bool:
        """Have the gateway read; say whether it did."""
        if self.is_paused or self.is_over or not self.unread:
            return False
        data, self.unread = self.unread[:size], self.unread[size:]
        self.connection.data_received(data)
        return True

    def send(self, data: bytes) -> None:
        """Send, and have the gateway read as much as it will."""
        self.unread += data
        self.deliver()

    def end(self) -> None:
        """End the caller's side."""
        if not self.is_paused and not self.is_over and not self.unread:
            self.connection.eof_received()
            self.close()


class Bench:
    """A gateway on the reference bundle, and both its ends."""

    def __init__(self, checkpoint: Checkpoint | None = None, **options: Any) -> None:
        self.checkpoint = checkpoint or a_checkpoint()
        self.disk = Disk()
        self.apis = Apis()
        self.issuers = Issuers()
        self.troubles = Troubles()
        self.violations: list[str] = []
        """Of what is watched; raised there, the gateway would take it for a defect of its own, and cope."""
        self.left: Counter[int] = Counter()
        """Bytes of each API's answer that have left."""
        self.statuses: dict[str, int] = {}
        """What was answered, by decision."""
        self.refused: set[str] = set()
        self.callers: list[Caller] = []
        self.gateway = Gateway(
            checkpoint=lambda: self.checkpoint,
            keys=cast("Any", self.issuers),
            introspector=cast("Any", self.issuers),
            ledger=self.disk,
            upstreams=cast("Any", self.apis),
            metrics=Metrics(),
            options=GatewayOptions(**options),
            ticker=Ticker(),
        )

    def __enter__(self) -> "Bench":
        logging.getLogger("sekisho").addHandler(self.troubles)
        asyncio.get_running_loop().set_exception_handler(self.troubles.note)
        return self

    def __exit__(self, *_exc: object) -> None:
        logging.getLogger("sekisho").removeHandler(self.troubles)

    def connect(self) -> Caller:
        caller = Caller(self)
        caller.connection = self.gateway.accept()
        self.callers.append(caller)
        caller.connection.connection_made(caller)
        return caller

    @property
    def ask(self) -> Ask:
        """The last request to an API."""
        return self.apis.asked[-1]

    def watch(self, data: bytes) -> None:
        """Look at what is about to leave."""
        for head in _HEAD.finditer(data):
            found = _DECISION.search(head[2])
            if found is not None:
                self._watch_head(int(head[1]), found[1].decode(), data)
        for byte, count in Counter(byte for byte in data if byte >= FIRST_MARK).items():
            number = byte - FIRST_MARK
            ask = self.apis.asked[number]
            self.left[number] += count
            if ask.decision_id in self.refused:
                self.violations.append("something of the API's leaves behind a refusal")
            if self.left[number] > self.disk.bytes_of(ask.decision_id):
                self.violations.append("bytes leave that are not recorded")

    def _watch_head(self, status: int, decision_id: str, data: bytes) -> None:
        if decision_id in self.statuses:
            self.violations.append("one request, two answers")
        self.statuses[decision_id] = status
        if b"application/problem+json" in data:
            self.refused.add(decision_id)
        is_unrecorded = status == 503 and self.disk.has_failed  # what cannot be recorded is refused all the same
        taken = self.disk.lines(decision_id, durable=False)
        is_request = any(
            line.get("api") for line in taken
        )  # of no request that anybody made, the kernel's word will do
        if not is_unrecorded and not (self.disk.lines(decision_id) if is_request else taken):
            self.violations.append("an answer leaves that is not recorded")

    def tick(self, later: float) -> None:
        """Let time pass."""
        self.gateway.ticker.tick(elapsed_seconds() + later)

    def check_answers(self, caller: Caller, methods: Sequence[str], *, has_left: bool) -> None:
        """Read what a caller got as a caller does: answers one behind the other, and the last may be cut short.

        Args:
            caller: who asked.
            methods: of its requests, in their order.
            has_left: whether it has left by itself.
        """
        data, last, count = caller.written, -1, 0
        while data:
            end = find_head_end(data)
            frame = read_response(data[:end]) if end > 0 else None
            assert frame is not None, "no answer by our own grammar"
            head, data = data[:end], data[end:]
            if frame.status == 101:
                return
            if frame.status < 200:
                continue
            found = _DECISION.search(head)
            asked = [ask for ask in self.apis.asked if found is not None and ask.decision_id == found[1].decode()]
            is_given = bool(asked) and asked[0].decision_id not in self.refused
            method = methods[count] if is_given else "GET" if data.startswith(b"{") else "HEAD"  # of a problem document
            body = response_body(frame, method)
            payload, data = (b"", data) if body is None else (body.feed(data), body.rest)
            is_whole = body is None or body.is_done
            if isinstance(body, UntilCloseBody):
                is_whole = caller.is_over and not caller.is_aborted and not has_left
            if is_given:
                assert asked[0].number > last, "answers in another order than requests"
                last = asked[0].number
                assert set(payload) <= set(asked[0].mark), "another one's answer"
                cut = f"an answer of {asked[0].size} bytes that seems whole with {len(payload)}: {head!r}"
                assert not is_whole or len(payload) == asked[0].size, cut
            assert is_whole or not data
            count += 1
        assert count <= len(methods) + 1

    def check_troubles(self) -> None:
        assert not self.violations, self.violations
        assert not self.troubles.seen, self.troubles.seen

    async def finish(self) -> None:
        """Let everybody leave, and see that nothing is left of anything."""
        self.disk.is_full = False
        for caller in self.callers:
            caller.lose()
        for _ in range(6):
            await asyncio.sleep(0)
            self.disk.finish_all()
        self.check_troubles()
        gateway = self.gateway
        assert not gateway.under_way
        assert not gateway.connections
        assert not gateway.limits._tallies
        assert not gateway.ticker._watched
        assert all(ask.is_over for ask in self.apis.asked)
        self._check_records()

    def _check_records(self) -> None:
        """Each request that began has one decision, and one end."""
        ids = Counter(line["id"] for line in self.disk.taken if line["line"] == "decision")
        for decision_id, count in ids.items():
            assert count == 1, f"{count} decisions on one request"
            ends = [line for line in self.disk.taken if line["id"] == decision_id and "complete" in line]
            for ask in self.apis.asked:
                if ask.decision_id == decision_id and not ask.is_tunnel and ends and ends[-1]["complete"]:
                    assert ends[-1].get("bytes", 0) == ask.size, "recorded as whole, and is not"
            released = next(line for line in self.disk.lines(decision_id, durable=False) if "released" in line)
            if not self.disk.has_failed:  # else it was tried once more
                # What was recorded as whole, and then kept back after all, is told anew: the last line holds.
                told = [line["complete"] for line in ends]
                assert told in ([], [True], [False], [True, False]), f"a request that ends more than once: {ends}"
                assert ends or not released["released"], "a request that never ends"
        if not self.disk.has_failed:
            assert {ask.decision_id for ask in self.apis.asked} <= set(ids), "a request without a decision"
