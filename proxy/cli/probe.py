# SPDX-License-Identifier: Apache-2.0
"""``sekisho probe``: a canary that tries to reach the APIs without the gateway, from where callers are.

One request to each API, without a token and without an assertion. Nothing of an answer is read but its status, and
nothing is told but that and the API's id. A certificate is not verified: nothing is sent that somebody could want, and
who reads round the gateway would not mind it either.
"""

import argparse
import contextlib
import enum
import http.client
import re
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit  # noqa: TID251 - an upstream's address, no request target

import msgspec
from prometheus_client import start_http_server, write_to_textfile

from proxy.bundle.apis import parse_upstream_url
from proxy.bundle.check import load_bundle
from proxy.cli.run import parse_pairs
from proxy.clock import elapsed_seconds, unix_seconds
from proxy.errors import UsageError
from proxy.listening import binding
from proxy.settings import parse_endpoint, read_settings
from proxy.telemetry import ProbeMetrics

TIMEOUT_SECONDS: Final = 5.0
MAX_LINE_BYTES: Final = 4096
"""What is read of an answer at most: its first line is all that is wanted."""
_LEAST_SECONDS: Final = 0.001
"""No time at all would mean not to wait for what is there."""
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?![0-9])")
UNIX: Final = "unix:"
_METHOD: Final = re.compile(r"[A-Z]{1,20}")
_TARGET: Final = re.compile(r"/[!-~]*")
_REFUSALS: Final = frozenset({http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN})


class Verdict(enum.StrEnum):
    """What came of one try."""

    UNREACHABLE = "unreachable"
    """Nobody takes the connection."""
    REFUSED = "refused"
    """The API, or what stands before it, wants what only the gateway has."""
    REACHABLE = "reachable"
    """Whoever is here can read round the gateway."""


class Finding(msgspec.Struct, frozen=True):
    """What came of trying one API."""

    api: str
    verdict: Verdict
    why: str
    status: int | None = None
    """Of the answer; None where there was none."""


class Place(msgspec.Struct, frozen=True):
    """Where an API is tried."""

    api: str
    url: str
    host: str
    """For the Host field; empty: the URL's own."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("policies", type=Path, nargs="?", metavar="DIR", help="the policy folder: every API that it declares is tried")
    add("--url", action="append", metavar="API=URL", help="where an API is, in place of the bundle's, or without one")
    add("--method", default="OPTIONS", metavar="METHOD", help="of the request (OPTIONS, which reads nothing)")
    add("--path", default="/", metavar="PATH", help="of the request (/)")
    add("--timeout", type=float, default=TIMEOUT_SECONDS, metavar="SECONDS", help=f"({TIMEOUT_SECONDS:g})")
    add("--json", action="store_true", help="print one line of JSON for each API")
    add("--every", type=float, metavar="SECONDS", help="go on until stopped, instead of once")
    add("--listen", metavar="HOST:PORT", help="with --every: serve /metrics there")
    add("--textfile", type=Path, metavar="FILE", help="write metrics there, for the node exporter")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Try; 1 if an API can be reached."""
    _check(options)
    places = find_places(options.policies, parse_pairs(options.url, "API=URL") or {})
    metrics = ProbeMetrics()
    if options.listen is not None:
        _serve(metrics, options.listen)
    while True:
        found = [_try(place, options) for place in places]
        _tell(found, metrics, options)
        if options.every is None:
            return int(any(finding.verdict is Verdict.REACHABLE for finding in found))
        time.sleep(options.every)


def _check(options: argparse.Namespace) -> None:
    if not _METHOD.fullmatch(options.method):
        raise UsageError(f"--method {options.method!r} is none: write it in capitals, such as OPTIONS.")
    if not _TARGET.fullmatch(options.path):
        raise UsageError(f"--path {options.path!r} is none: it begins with a slash and has no blank.")
    if not 0 < options.timeout <= 3600 or (options.every is not None and not 0 < options.every <= 86400):
        raise UsageError("--timeout is more than 0 and at most 3600 seconds, --every at most a day.")
    if options.listen is not None and options.every is None:
        raise UsageError("--listen serves what is found again and again: say how often with --every SECONDS.")


def find_places(folder: Path | None, urls: Mapping[str, str]) -> tuple[Place, ...]:
    """Return where APIs are tried: those of a bundle, as this deployment finds them, or those that are named.

    Raises:
        UsageError: none is named, one is no URL, or the bundle declares no such API.
        BundleError: the folder does not load.
    """
    if folder is None:
        if not urls:
            raise UsageError("Nothing to try: name the policy folder, or an API with --url API=URL.")
        try:
            return tuple(Place(api, parse_upstream_url(url), "") for api, url in urls.items())
        except ValueError as error:
            raise UsageError(f"--url: {error}.") from None
    apis = load_bundle(folder, {**read_settings().upstream, **urls}).catalog.apis
    return tuple(
        Place(name, place.url, api.hosts[0] if api.hosts else "") for api in apis for name, place in api.named_places
    )


def _try(place: Place, options: argparse.Namespace) -> Finding:
    """Send one request, and say what came of it."""
    with contextlib.closing(_make_connection(place.url, options.timeout)) as connection:
        try:
            connection.connect()
        except ssl.SSLError:
            return Finding(place.api, Verdict.REFUSED, "the TLS handshake fails")
        except (OSError, UnicodeError):  # UnicodeError: a name that no host can have
            return Finding(place.api, Verdict.UNREACHABLE, "no connection")
        with connection.sock:  # http.client lets go of it when an answer ends with the connection
            return _ask(place, connection, options)


def _ask(place: Place, connection: http.client.HTTPConnection, options: argparse.Namespace) -> Finding:
    try:
        connection.putrequest(options.method, options.path, skip_host=bool(place.host), skip_accept_encoding=True)
        if place.host:
            connection.putheader("Host", place.host)
        connection.putheader("User-Agent", "sekisho-probe")
        connection.putheader("Connection", "close")
        connection.endheaders()
        line = _read_line(connection.sock, options.timeout)
    except TimeoutError:
        return Finding(place.api, Verdict.REACHABLE, "it takes connections, and is silent")
    except OSError:  # a reset, TLS that asks for a certificate after the handshake
        line = b""
    if not line:
        return Finding(place.api, Verdict.REFUSED, "it closes the connection without an answer")
    match = _STATUS_LINE.match(line)
    if match is None:
        return Finding(place.api, Verdict.REACHABLE, "it answers, though not as HTTP/1.1")
    status = int(match[1])
    if status in _REFUSALS:
        return Finding(place.api, Verdict.REFUSED, "it asks for what only the gateway has", status)
    return Finding(place.api, Verdict.REACHABLE, "it answers", status)


def _read_line(taken: socket.socket, seconds: float) -> bytes:
    """Return the first line of an answer, or what of it has come in time.

    Raises:
        TimeoutError: nothing has.
        OSError: the connection has broken before it was whole.
    """
    until = elapsed_seconds() + seconds
    line = b""
    while b"\n" not in line and len(line) < MAX_LINE_BYTES:
        taken.settimeout(max(_LEAST_SECONDS, until - elapsed_seconds()))
        try:
            part = taken.recv(MAX_LINE_BYTES)
        except TimeoutError:
            if line:
                break
            raise
        if not part or elapsed_seconds() > until:
            return line + part
        line += part
    return line


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _make_connection(url: str, timeout: float) -> http.client.HTTPConnection:
    if url.startswith(UNIX):
        return _UnixConnection(url.removeprefix(UNIX), timeout)
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=timeout)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=context)


def _serve(metrics: ProbeMetrics, endpoint: str) -> None:
    host, port = parse_endpoint(endpoint, "--listen")
    with binding(endpoint, "--listen"):
        start_http_server(port, host, metrics.registry)


def _tell(found: Sequence[Finding], metrics: ProbeMetrics, options: argparse.Namespace) -> None:
    for finding in found:
        metrics.show(finding.api, is_reachable=finding.verdict is Verdict.REACHABLE)
        answer = "" if finding.status is None else f" ({finding.status})"
        told = f"{finding.api}: {finding.verdict}: {finding.why}{answer}"
        print(msgspec.json.encode(finding).decode() if options.json else told, flush=True)
    metrics.probed_at.set(unix_seconds())
    if options.textfile is not None:
        try:
            write_to_textfile(str(options.textfile), metrics.registry)
        except OSError as error:
            raise UsageError(f"{options.textfile} cannot be written: {error.strerror}. Name another.") from error
