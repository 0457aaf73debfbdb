# SPDX-License-Identifier: Apache-2.0
"""TLS towards an API: nobody is believed but whom the deployment says, and what is wrong at the start is told."""

import asyncio
import ipaddress
import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from proxy.errors import UsageError
from proxy.gateway.options import GatewayOptions
from proxy.gateway.upstream.tls import UpstreamTls, check_settings, make_context, read_tls
from proxy.model.api import Api, Upstream
from proxy.model.decision import Reason
from tests.support import certificates
from tests.support.certificates import CLIENT, SERVER, Held, a_ca, a_leaf
from tests.support.upstream import Asking, Heard, answering, asking, for_ever, read_head, serving

LOCALHOST = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have certificates hold at the time that OpenSSL takes for now."""
    monkeypatch.setattr(certificates, "NOW", time.time())  # noqa: TID251


def server_context(held: Held, folder: Path, *, clients: Held | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*held.write(folder, "server"))
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.pem)
    return context


class Corp:
    """A CA of the deployment's own, and what it has signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = a_ca("Internal CA")
        self.ca_path = self.ca.write(folder, "ca")[0]

    def server(self, *names: str, **changes: Any) -> Held:
        told: dict[str, Any] = {"usages": [SERVER], "general": [LOCALHOST]} | changes
        return a_leaf(self.ca, *names, **told)

    def options(self, **more: Any) -> dict[str, Any]:
        return {"upstream_ca": {"users": self.ca_path}} | more


@pytest.fixture
def corp(tmp_path: Path) -> Corp:
    return Corp(tmp_path)


def secure(url: str) -> str:
    return url.replace("http://", "https://")


async def test_an_api_is_asked_whose_certificate_is_of_the_ca_and_has_its_name(corp: Corp) -> None:
    context = server_context(corp.server(), corp.folder)
    async with serving(for_ever, context=context) as api, asking(secure(api.url), **corp.options()) as asks:
        assert (await asks.ask()).body == b"ok"
        assert (await asks.ask("PUT", b"x" * 100_000)).body == b"ok"
        assert len(api.received) == 1


WRONG: dict[str, Callable[[Corp], Held]] = {
    "another name": lambda corp: corp.server("other.internal", general=()),
    "its name as common name alone": lambda corp: corp.server(common="127.0.0.1", general=()),
    "another CA": lambda _: a_leaf(a_ca("Other CA"), usages=[SERVER], general=[LOCALHOST]),
    "no CA": lambda _: a_ca("127.0.0.1", is_ca=False, extensions=[(x509.SubjectAlternativeName([LOCALHOST]), False)]),
    "an end in the past": lambda corp: corp.server(until=-60),
    "a use that is a client's": lambda corp: corp.server(usages=[CLIENT]),
}


@pytest.mark.parametrize("what", WRONG)
async def test_an_api_is_not_asked_whose_certificate_has(what: str, corp: Corp, caplog: Any) -> None:
    context = server_context(WRONG[what](corp), corp.folder)
    async with serving(for_ever, context=context) as api, asking(secure(api.url), **corp.options()) as asks:
        heard = await asks.ask()
        assert heard.reason is Reason.UPSTREAM_UNREACHABLE
        assert asks.measure("sekisho_upstream_connect_failures_total", cause="tls") == 3
        assert not any(api.received)
    told = [record.__dict__ for record in caplog.records if record.levelno == logging.WARNING]
    assert [(each["api"], each["cause"], each["error"][:28]) for each in told] == [
        ("users", "tls", "its certificate is not taken")
    ]


async def test_without_a_ca_of_its_own_an_api_is_verified_by_those_of_the_system(corp: Corp) -> None:
    context = server_context(corp.server(), corp.folder)
    async with serving(for_ever, context=context) as api, asking(secure(api.url)) as asks:
        assert (await asks.ask()).reason is Reason.UPSTREAM_UNREACHABLE


async def test_a_server_name_takes_the_place_of_the_hosts(corp: Corp) -> None:
    asked: list[str | None] = []
    context = server_context(corp.server("users.internal", general=()), corp.folder)
    context.sni_callback = lambda _object, name, _context: asked.append(name)
    options = corp.options(upstream_server_name={"users": "users.internal"})
    async with serving(for_ever, context=context) as api, asking(secure(api.url), **options) as asks:
        assert (await asks.ask()).body == b"ok"
    assert asked == ["users.internal"]


async def test_an_api_that_asks_who_we_are_is_shown_our_certificate(corp: Corp) -> None:
    context = server_context(corp.server(), corp.folder, clients=corp.ca)
    ours, key = a_leaf(corp.ca, "urn:gateway").write(corp.folder, "ours")
    both = {"upstream_certificate": {"users": ours}, "upstream_key": {"users": key}}
    async with serving(for_ever, context=context) as api:
        async with asking(secure(api.url), **corp.options(**both)) as asks:
            assert (await asks.ask()).body == b"ok"
        async with asking(secure(api.url), **corp.options()) as asks:
            assert (await asks.ask()).reason in {Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_BROKEN}


async def test_an_api_without_tls_is_not_taken_for_one_with_it(corp: Corp) -> None:
    options = corp.options(upstream_connect_seconds=0.5)
    async with serving(for_ever) as api, asking(secure(api.url), **options) as asks:
        assert (await asks.ask()).reason is Reason.UPSTREAM_UNREACHABLE
        assert b"GET" not in api.received[0]


async def test_old_versions_of_tls_are_not_spoken(corp: Corp) -> None:
    context = server_context(corp.server(), corp.folder)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(for_ever, context=context) as api, asking(secure(api.url), **corp.options()) as asks:
        assert (await asks.ask()).reason is Reason.UPSTREAM_UNREACHABLE


async def test_only_http_1_1_is_offered(corp: Corp) -> None:
    context = server_context(corp.server(), corp.folder)
    context.set_alpn_protocols(["h2", "http/1.1"])
    chosen: list[str | None] = []

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chosen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await for_ever(reader, writer)

    async with serving(act, context=context) as api, asking(secure(api.url), **corp.options()) as asks:
        await asks.ask()
    assert chosen == ["http/1.1"]


# The end of what ends with the connection.


async def test_an_end_that_the_api_says_inside_of_tls_is_one(corp: Corp) -> None:
    context = server_context(corp.server(), corp.folder)
    answer = b"HTTP/1.1 200 OK\r\n\r\nto the end"
    act = answering(answer, then_close=True)
    async with serving(act, context=context) as api, asking(secure(api.url), **corp.options()) as asks:
        heard = await asks.ask()
        assert (heard.body, heard.is_whole) == (b"to the end", True)


async def test_an_end_that_anybody_in_between_can_make_is_none(corp: Corp) -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nto the")
        await writer.drain()
        await heard_it.wait()
        writer.transport.abort()  # closes TCP, and says nothing inside of TLS

    def note(name: str, _: Heard) -> None:
        if name == "answered":
            heard_it.set()

    heard_it = asyncio.Event()
    context = server_context(corp.server(), corp.folder)
    async with serving(act, context=context) as api, asking(secure(api.url), **corp.options()) as asks:
        heard = await asks.begin(Heard(during=note)).end()
        assert (heard.body, heard.reason, heard.is_whole) == (b"to the", Reason.UPSTREAM_BROKEN, False)


# Files that change.


async def test_a_ca_that_is_renewed_is_taken_up_by_the_next_connection(corp: Corp) -> None:
    context = server_context(corp.server(), corp.folder)
    options = corp.options(upstream_failures=1, upstream_down_seconds=0.001)
    async with serving(for_ever, context=context) as api, asking(secure(api.url), **options) as asks:
        good = corp.ca_path.read_text()
        assert (await asks.ask()).body == b"ok"
        corp.ca_path.write_text(a_ca("Other CA").pem)
        await _reconnect(asks)
        assert (await asks.ask()).reason is Reason.UPSTREAM_UNREACHABLE
        corp.ca_path.write_text(good)
        await asyncio.sleep(0.01)
        assert (await asks.ask()).body == b"ok"


async def test_a_changed_file_that_cannot_be_used_is_logged_and_the_old_one_stays(corp: Corp, caplog: Any) -> None:
    context = server_context(corp.server(), corp.folder)
    async with serving(for_ever, context=context) as api, asking(secure(api.url), **corp.options()) as asks:
        corp.ca_path.write_text("half")
        assert (await asks.ask()).body == b"ok"
        await _reconnect(asks)
        assert (await asks.ask()).body == b"ok"
        doubts = asks.upstreams.find_tls_doubts()
        assert len(doubts) == 1
        assert doubts[0].startswith("users: the old TLS stays: ")
        corp.ca_path.write_text(corp.ca.pem)
        await _reconnect(asks)
        assert (await asks.ask()).body == b"ok"
        assert asks.upstreams.find_tls_doubts() == ()
    told = [record.__dict__["error"] for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert str(corp.ca_path) in told[0]


async def _reconnect(asks: Asking) -> None:
    for connection in asks.pool.open:
        connection.discard()
    await asks.becomes(lambda: not asks.pool.open)


# What is wrong at the start.


def an_api(url: str = "https://users.internal", id_: str = "users") -> Api:
    return Api(id_, (), Upstream(url, None), forwards_authorization=False)


SETTINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "an API that nobody declares": (
        {"upstream_ca": {"user": Path("ca.pem")}}, "https://x", "SEKISHO_UPSTREAM_CA.+'user'.+did you mean 'users'",
    ),
    "an API without TLS": (
        {"upstream_server_name": {"users": "x"}}, "http://x", "SEKISHO_UPSTREAM_SERVER_NAME.+http://x, without TLS",
    ),
    "a Unix socket": ({"upstream_ca": {"users": Path("ca.pem")}}, "unix:/run/x", "SEKISHO_UPSTREAM_CA.+without TLS"),
    "a certificate without its key": (
        {"upstream_certificate": {"users": Path("a.pem")}}, "https://x", "SEKISHO_UPSTREAM_KEY does not",
    ),
    "a key without its certificate": (
        {"upstream_key": {"users": Path("a.key")}}, "https://x", "SEKISHO_UPSTREAM_CERTIFICATE does not",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SETTINGS)
def test_settings_are_refused_that_name(what: str) -> None:
    said, url, words = SETTINGS[what]
    with pytest.raises(UsageError, match=words):
        check_settings(GatewayOptions(**said), [an_api(url)])


def test_settings_may_name_an_api_of_which_one_place_speaks_tls() -> None:
    elsewhere = {"JP": Upstream("https://jp", "JP")}
    api = Api("users", (), Upstream("http://kr", "KR"), forwards_authorization=False, upstreams=elsewhere)
    check_settings(GatewayOptions(upstream_server_name={"users": "users.internal"}), [api])


FILES: dict[str, tuple[Callable[[Corp], dict[str, Path]], str]] = {
    "a CA that is not there": (lambda corp: {"ca": corp.folder / "none.pem"}, "none.pem.+SEKISHO_UPSTREAM_CA.+No such"),
    "a CA that is none": (lambda corp: {"ca": _write(corp, "nothing")}, "SEKISHO_UPSTREAM_CA.+no CA certificate"),
    "a key that is not there": (
        lambda corp: {"certificate": corp.ca_path, "key": corp.folder / "none.key"}, "SEKISHO_UPSTREAM_KEY.+No such",
    ),
    "a key of another certificate": (
        lambda corp: {"certificate": corp.ca_path, "key": a_ca().write(corp.folder, "other")[1]},
        "cannot be used together",
    ),
    "a key that is encrypted": (
        lambda corp: {"certificate": corp.ca_path, "key": _write(corp, _encrypted(corp.ca))},
        "SEKISHO_UPSTREAM_KEY.+encrypted",
    ),
    "a key that others may read": (
        lambda corp: {"certificate": corp.ca_path, "key": _write(corp, corp.ca.key_pem, 0o604)},
        r"The private key \(SEKISHO_UPSTREAM_KEY of 'users'\).+ is open to others \(mode 604\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600, 0o640], ids=oct)
def test_a_key_of_the_gateways_alone_is_taken_as_those_who_mount_it_leave_it(mode: int, corp: Corp) -> None:
    _, key = corp.ca.write(corp.folder, "ours")
    key.chmod(mode)
    Asking("https://users.internal", upstream_certificate={"users": corp.ca_path}, upstream_key={"users": key})


def _write(corp: Corp, text: str, mode: int = 0o600) -> Path:
    path = corp.folder / "written"
    path.write_text(text)
    path.chmod(mode)
    return path


def _encrypted(held: Held) -> str:
    secret = BestAvailableEncryption(b"secret")
    return str(held.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret).decode())


@pytest.mark.parametrize("what", FILES)
def test_at_the_start_it_is_an_error_to_have(what: str, corp: Corp) -> None:
    make, words = FILES[what]
    options = {f"upstream_{name}": {"users": path} for name, path in make(corp).items()}
    with pytest.raises(UsageError, match=words):
        Asking("https://users.internal", **options)


def test_what_is_refused_changes_nothing(corp: Corp) -> None:
    asks = Asking("https://users.internal", **corp.options())
    corp.ca_path.write_text("nothing")
    with pytest.raises(UsageError):
        asks.upstreams.adopt([asks.api, an_api("http://x", "orders"), an_api("https://elsewhere")])
    assert list(asks.upstreams._pools) == [("users", "https://users.internal")]


def test_a_context_verifies_whatever_it_is_told() -> None:
    tls = read_tls(GatewayOptions(), "users")
    assert isinstance(tls, UpstreamTls)
    context = make_context("users", tls._files)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
