# SPDX-License-Identifier: Apache-2.0
"""The canary, against small servers that do one thing: what it finds, prints, counts and ends with."""

import asyncio
import contextlib
import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from proxy.cli import main
from proxy.clock import elapsed_seconds
from tests.support.bundle_folder import edited, write_bundle
from tests.support.certificates import a_ca
from tests.support.world import wait_for

HEAD = b"HTTP/1.1 %s\r\nContent-Length: 6\r\n\r\nSECRET"


class Server:
    """Takes connections one after another, and does the same with each.

    Args:
        serve: is given each.
        family: and where.
    """

    def __init__(self, serve: Callable[[socket.socket], object], path: Path | None = None) -> None:
        self.heads: list[bytes] = []
        self._serve = serve
        self._socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._socket.bind(str(path) if path else ("127.0.0.1", 0))
        self._socket.listen()
        name = self._socket.getsockname()
        self.url = f"unix:{path}" if path else f"http://127.0.0.1:{name[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = self._socket.accept()
                with taken, contextlib.suppress(OSError):
                    self._serve(taken)

    def read_head(self, taken: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            part = taken.recv(1000)
            if not part:
                return
            head += part
        self.heads.append(head)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@contextlib.contextmanager
def answering(answer: bytes, path: Path | None = None) -> Iterator[Server]:
    """Serve one answer to every request."""

    def serve(taken: socket.socket) -> None:
        server.read_head(taken)
        taken.sendall(answer)

    server = Server(serve, path)
    try:
        yield server
    finally:
        server.close()


def probe(*flags: str) -> int:
    return main(["probe", *flags])


ANSWERS = {
    "an answer": (b"200 OK", 1, "users: reachable: it answers (200)"),
    "no such path": (b"404 Not Found", 1, "users: reachable: it answers (404)"),
    "a way elsewhere": (b"302 Found", 1, "users: reachable: it answers (302)"),
    "a fault of its own": (b"500 Oops", 1, "users: reachable: it answers (500)"),
    "no assertion": (b"401 Unauthorized", 0, "users: refused: it asks for what only the gateway has (401)"),
    "not allowed": (b"403 Forbidden", 0, "users: refused: it asks for what only the gateway has (403)"),
}


@pytest.mark.parametrize(("status", "code", "told"), ANSWERS.values(), ids=ANSWERS.keys())
def test_what_an_api_answers_is_told_by_its_status_alone(
    capsys: pytest.CaptureFixture[str], status: bytes, code: int, told: str
) -> None:
    with answering(HEAD % status) as server:
        assert probe("--url", f"users={server.url}") == code
    out, err = capsys.readouterr()
    assert (out, err) == (f"{told}\n", "")
    (head,) = server.heads
    assert head.startswith(b"OPTIONS / HTTP/1.1\r\n")
    assert b"authorization" not in head.lower()
    assert b"sekisho-assertion" not in head.lower()


def test_a_request_that_is_named_is_sent_to_the_host_that_the_api_declares(tmp_path: Path) -> None:
    with answering(HEAD % b"401 No") as server:
        folder = write_bundle(
            tmp_path, edited(("apis.yaml", "    upstream:", "    hosts: [users.internal]\n    upstream:"),
                             ("cases.yaml", "      request:", "      host: users.internal\n      request:"))
        )  # fmt: skip
        assert probe(str(folder), "--url", f"users={server.url}", "--method", "GET", "--path", "/healthz?full=1") == 0
    (head,) = server.heads
    assert head.startswith(b"GET /healthz?full=1 HTTP/1.1\r\n")
    assert head.count(b"\r\nHost: users.internal\r\n") == 1
    assert head.lower().count(b"\r\nhost:") == 1


def test_every_api_is_tried_and_told_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(HEAD % b"401 No") as one, answering(HEAD % b"200 OK") as two:
        assert probe("--url", f"users={one.url}", "--url", f"talks={two.url}", "--json") == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["api"], first["verdict"], first["status"]) == ("users", "refused", 401)
    assert (second["api"], second["verdict"], second["status"]) == ("talks", "reachable", 200)


def test_every_place_of_an_api_is_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = """\
    upstreams:
      JP: {url: "http://127.0.0.1:9081", hosted_in: JP}
      default: {url: "http://127.0.0.1:9000", hosted_in: KR}
"""
    served = ("apis.yaml", '    upstream: {url: "http://127.0.0.1:9000", hosted_in: JP}\n', places)
    with answering(HEAD % b"401 No") as one, answering(HEAD % b"200 OK") as two:
        folder = str(write_bundle(tmp_path, edited(served)))
        assert probe(folder, "--url", f"users={one.url}", "--url", f"users/JP={two.url}", "--json") == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["api"], each["verdict"]) for each in told] == [("users", "refused"), ("users/JP", "reachable")]


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


NOWHERE = ["http://127.0.0.1:{}", "https://127.0.0.1:{}", "unix:/nowhere/at/all", f"http://{'a' * 64}.internal:{{}}"]


@pytest.mark.parametrize(
    "url", NOWHERE, ids=["a closed port", "one of TLS", "no socket", "a name that no host can have"]
)
def test_where_nobody_is_nothing_is_reached(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert probe("--url", f"users={url.format(free_port())}") == 0
    assert capsys.readouterr().out == "users: unreachable: no connection\n"


def test_a_unix_socket_is_tried(tmp_path: Path) -> None:
    with answering(HEAD % b"200 OK", tmp_path / "api.sock") as server:
        assert probe("--url", f"users={server.url}") == 1


ODD: dict[str, tuple[Callable[[socket.socket], None], int, str]] = {
    "closes": (lambda _: None, 0, "users: refused: it closes the connection without an answer\n"),
    "speaks something else": (
        lambda taken: taken.sendall(b"\0\0\x12\x04\0\0\0\0\0" * 10 + b"\n"),
        1,
        "users: reachable: it answers, though not as HTTP/1.1\n",
    ),
}


@pytest.mark.parametrize(("serve", "code", "told"), ODD.values(), ids=ODD.keys())
def test_what_answers_otherwise(
    capsys: pytest.CaptureFixture[str], serve: Callable[[socket.socket], None], code: int, told: str
) -> None:
    def read_and_serve(taken: socket.socket) -> None:
        server.read_head(taken)
        serve(taken)

    server = Server(read_and_serve)
    try:
        assert probe("--url", f"users={server.url}") == code
    finally:
        server.close()
    assert capsys.readouterr().out == told


def test_an_api_that_takes_the_connection_and_is_silent_is_reached(capsys: pytest.CaptureFixture[str]) -> None:
    done = threading.Event()
    server = Server(lambda _: done.wait(20))
    try:
        assert probe("--url", f"users={server.url}", "--timeout", "0.05") == 1
    finally:
        done.set()
        server.close()
    assert capsys.readouterr().out == "users: reachable: it takes connections, and is silent\n"


@pytest.mark.parametrize(
    ("asks", "told"),
    [
        pytest.param(ssl.CERT_NONE, "users: reachable: it answers (200)\n", id="a certificate that nobody vouches for"),
        pytest.param(ssl.CERT_REQUIRED, "users: refused: ", id="one that wants the gateway's certificate"),
    ],
)
def test_an_api_with_tls(tmp_path: Path, capsys: pytest.CaptureFixture[str], asks: ssl.VerifyMode, told: str) -> None:
    certificate, key = a_ca().write(tmp_path, "api")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    context.verify_mode = asks

    def serve(taken: socket.socket) -> None:
        with context.wrap_socket(taken, server_side=True) as wrapped:
            server.read_head(wrapped)
            wrapped.sendall(HEAD % b"200 OK")

    server = Server(serve)
    try:
        code = probe("--url", f"users={server.url.replace('http', 'https')}")
    finally:
        server.close()
    assert capsys.readouterr().out.startswith(told)
    assert code == int("reachable" in told)


def test_the_metrics_say_which_api_is_open_and_when_it_was_tried(tmp_path: Path) -> None:
    file = tmp_path / "probe.prom"
    with answering(HEAD % b"200 OK") as server:
        urls = ("--url", f"users={server.url}", "--url", f"talks=http://127.0.0.1:{free_port()}")
        assert probe(*urls, "--textfile", str(file)) == 1
    text = file.read_text(encoding="utf-8")
    assert 'sekisho_probe_reachable{api="users"} 1.0' in text
    assert 'sekisho_probe_reachable{api="talks"} 0.0' in text
    assert "\nsekisho_probe_timestamp_seconds 1." in text


async def test_it_goes_on_and_serves_its_metrics_until_it_is_stopped() -> None:
    at = f"127.0.0.1:{free_port()}"
    with answering(HEAD % b"200 OK") as server:
        flags = ["--url", f"users={server.url}", "--every", "0.01", "--listen", at]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy.cli", "probe", *flags, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await wait_for(lambda: len(server.heads) > 2, 30)
            async with aiohttp.ClientSession() as session, session.get(f"http://{at}/metrics") as answer:
                assert 'sekisho_probe_reachable{api="users"} 1.0' in await answer.text()
            assert process.returncode is None
        finally:
            process.terminate()
            await process.wait()


FAULTS = {
    "nothing to try": ([], "name the policy folder, or an API with --url"),
    "no URL": (["--url", "users=ftp://x"], "--url: 'ftp://x' is no URL"),
    "no pair": (["--url", "users"], "is not of the form API=URL"),
    "a method in small letters": (["--url", "a=http://x", "--method", "get"], "write it in capitals"),
    "two lines as a path": (
        ["--url", "a=http://x", "--path", "/ HTTP/1.1\r\nX: y"],
        "begins with a slash and has no blank",
    ),
    "a path that is none": (["--url", "a=http://x", "--path", "healthz"], "begins with a slash"),
    "no time at all": (["--url", "a=http://x", "--timeout", "0"], "--timeout is more than 0"),
    "what is not a number": (["--url", "a=http://x", "--every", "nan"], "--every at most a day"),
    "metrics of one try": (["--url", "a=http://x", "--listen", "127.0.0.1:0"], "say how often with --every"),
    "a name that no host can have": (
        ["--url", "a=http://x", "--every", "1", "--listen", f"{'x' * 70}:9101"],
        "has a name that no host can have: name another with --listen",
    ),
    "an address of another machine": (
        ["--url", "a=http://x", "--every", "1", "--listen", "192.0.2.1:9101"],
        "is none of this machine's",
    ),
    "a file that cannot be": (["--url", "a=http://127.0.0.1:1", "--textfile", "/nowhere/a.prom"], "cannot be written"),
}


@pytest.mark.parametrize(("flags", "told"), FAULTS.values(), ids=FAULTS.keys())
def test_what_cannot_be_tried_is_told_with_the_mend(
    capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    assert probe(*flags) == 2
    assert told in capsys.readouterr().err


def test_an_api_that_the_bundle_does_not_declare_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe(str(write_bundle(tmp_path)), "--url", "user=http://127.0.0.1:1") == 2
    assert "did you mean 'users'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("begins", "told"),
    [(b"HTTP/1.1 200 OK\r\n", "it answers (200)"), (b"", "it answers, though not as HTTP/1.1")],
    ids=["its fields", "its status"],
)
def test_an_api_that_never_comes_to_the_end_of_an_answer_does_not_hold_the_canary_up(
    capsys: pytest.CaptureFixture[str], begins: bytes, told: str
) -> None:
    done = threading.Event()

    def drip(taken: socket.socket) -> None:
        server.read_head(taken)
        taken.sendall(begins)
        while not done.wait(0.05):
            taken.sendall(b"x")

    server = Server(drip)
    try:
        since = elapsed_seconds()
        assert probe("--url", f"users={server.url}", "--timeout", "0.5") == 1
        assert elapsed_seconds() - since < 5
    finally:
        done.set()
        server.close()
    assert told in capsys.readouterr().out
