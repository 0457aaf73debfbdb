# SPDX-License-Identifier: Apache-2.0
"""TLS on real sockets: who gets in with which certificate, and what changes without a restart."""

import asyncio
import contextlib
import functools
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import pytest
import uvloop
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from proxy.clock import unix_seconds
from proxy.errors import UsageError
from proxy.model.decision import Reason
from tests.support.bundle_folder import SMALL, edited, write_bundle
from tests.support.certificates import (
    BILLING,
    MESH,
    REPORTS,
    SERVER,
    Held,
    a_ca,
    a_leaf,
    a_list,
    corp_ca,
    corp_intermediate,
    partner_ca,
)
from tests.support.world import ISSUERS, World, run_world, serve_raw, wait_for

USER: Final = "/v1/jp/users/42"
YEARS: Final = 3 * 365 * 86400
"""Certificates of these tests are judged by the real clock."""
RULES: Final = """\
rules:
  - id: staff
    effect: allow
    when: {caller.affiliate: home-co, caller.kind: employee}
  - id: mesh
    effect: allow
    when: {caller.issuer: mesh, caller.issuer_operator: home-co, caller.kind: service}
"""
STAFF: Final = {"affiliate": "home-co", "kind": "employee", "residence": "JP"}


def service(name: str = BILLING, issuer: Held | None = None, **changes: Any) -> Held:
    return a_leaf(issuer or corp_ca(), name, **{"since": -YEARS, "until": YEARS, **changes})


def own(name: str = "localhost") -> Held:
    """Return a certificate of the gateway."""
    return a_leaf(partner_ca(), since=-YEARS, until=YEARS, usages=[SERVER], general=[x509.DNSName(name)], serial=None)


def current_list(*revoked: Held, issuer: Held | None = None) -> bytes:
    serials = [each.certificate.serial_number for each in revoked]
    return a_list(issuer or corp_ca(), *serials, since=-YEARS, until=YEARS)


class Place(World, frozen=True, kw_only=True):
    """A gateway that speaks TLS, its policy folder, and where its certificate is."""

    policies: Path
    folder: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def write(self, held: Held) -> None:
        """Put another certificate in the place of the gateway's own, as those who renew them do: whole files."""
        for name, text in (("own.key", held.key_pem), ("own.pem", held.pem)):
            (self.folder / "new").touch(mode=0o600)
            (self.folder / "new").write_text(text, encoding="ascii")
            (self.folder / "new").replace(self.folder / name)


def bundle(**changes: str) -> dict[str, str]:
    """Return a bundle that lets services of the mesh pass."""
    jwks = json.dumps(ISSUERS["corp"].key_set())
    return {
        **edited(
            ("bundle.yaml", "networks, trusted_proxies]", "networks, trusted_proxies, certificate_authorities]"),
            ("bundle.yaml", "  cases.yaml: [tests]\n", ""),
            ("parties.yaml", "https://idp.example.jp\n", f"{ISSUERS['corp'].issuer}\n"),
            ("parties.yaml", "[gateway]", "[pii-gateway]"),
            ("parties.yaml", "https://idp.example.jp/jwks.json", "file:corp.json"),
        ),
        "rules.yaml": RULES,
        "corp.json": jwks,
        "ca.pem": corp_ca().pem,
        "mesh.crl": current_list().decode(),
        **changes,
    }


async def _answer(request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"name": "Taro", "got": sorted(request.headers)})


@contextlib.asynccontextmanager
async def a_place(
    folder: Path,
    handler: Callable[[Any], Awaitable[web.StreamResponse]] = _answer,
    files: dict[str, str] | None = None,
    authorities: str = MESH,
    **flags: Any,
) -> AsyncIterator[Place]:
    files = files or bundle()
    files = {**files, "parties.yaml": files["parties.yaml"] + authorities}
    files.pop("cases.yaml", None)
    policies = write_bundle(folder / "policies", files)
    certificate, key = own().write(folder, "own")
    settings = {
        "policies": policies,
        "jwks": {},
        "watch_seconds": 0.05,
        "tls_certificate": certificate,
        "tls_key": key,
        "tls_client": "optional",
        **flags,
    }
    async with serve_raw(handler) as api, run_world(folder, api, **{"upstream": {"users": api}, **settings}) as world:
        yield Place(world.host, world.port, world.admin, world.ledger, world.poke, policies=policies, folder=folder)


def trusting(held: Held | None = None, folder: Path | None = None) -> ssl.SSLContext:
    """Return a client's context that shows a certificate, if one is given."""
    context = ssl.create_default_context(cadata=partner_ca().pem)
    if held is not None and folder is not None:
        chain = (corp_intermediate(),) if held.certificate.issuer == corp_intermediate().certificate.subject else ()
        context.load_cert_chain(*held.write(folder, "client", *chain))
    return context


@contextlib.asynccontextmanager
async def connected(place: Place, held: Held | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=trusting(held, place.folder), limit=1)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


class Told(msgspec.Struct, frozen=True):
    status: int
    reason: str = ""
    got: tuple[str, ...] = ()


async def ask(session: aiohttp.ClientSession, place: Place, **fields: str) -> Told:
    names = {name.replace("_", "-"): value for name, value in fields.items()}
    async with session.get(place.url + USER, headers=names) as answer:
        body = await answer.json(content_type=None)
        return Told(answer.status, body.get("reason", ""), tuple(body.get("got", ())))


def bearer(**claims: Any) -> str:
    return f"Bearer {ISSUERS['corp'].token(unix_seconds(), **(claims or STAFF))}"


async def becomes(ask_once: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await ask_once():
            await asyncio.sleep(0.02)


# Who gets in.


async def test_a_service_gets_in_with_its_certificate_and_is_recorded_as_one(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place, connected(place, service()) as session:
        assert (await ask(session, place)).status == 200
        (record,) = place.decisions()
        assert (record["caller"]["issuer"], record["caller"]["kind"]) == ("mesh", "service")
        assert record["caller"]["affiliate"] == "unknown"
        assert BILLING not in json.dumps(record)


async def test_a_person_gets_in_with_a_token_and_nobody_with_neither(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place, connected(place) as session:
        assert (await ask(session, place, Authorization=bearer())).status == 200
        assert await ask(session, place) == Told(401, Reason.TOKEN_MISSING)


async def test_a_token_decides_who_asks_where_there_are_both(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place, connected(place, service()) as session:
        assert (await ask(session, place, Authorization=bearer())).status == 200
        assert (await ask(session, place, Authorization=bearer(affiliate="branch"))).reason == Reason.NO_RULE_ALLOWS
        assert (await ask(session, place, Authorization="Bearer x")).reason == Reason.TOKEN_MALFORMED
        assert [record["caller"]["issuer"] for record in place.decisions()] == ["corp", "corp", "unknown"]


NOBODY: Final[dict[str, tuple[Callable[[], Held], Reason]]] = {
    "another trust domain": (lambda: service("spiffe://evil.example/x"), Reason.CERTIFICATE_NAME_FOREIGN),
    "a DNS name": (lambda: service("billing.corp.example"), Reason.CERTIFICATE_NAME_MISSING),
    "a NUL byte in its name": (lambda: service(f"{BILLING}\0.evil.example"), Reason.CERTIFICATE_NAME_MALFORMED),
    "an e-mail address": (
        lambda: service(REPORTS, general=[x509.UniformResourceIdentifier("mailto:a@b@corp.example")]),
        Reason.CERTIFICATE_NAME_REPEATED,
    ),
    "an intermediate that is not listed": (
        lambda: service(issuer=corp_intermediate()),
        Reason.CERTIFICATE_AUTHORITY_UNDECLARED,
    ),
}


@pytest.mark.parametrize(("make", "reason"), NOBODY.values(), ids=NOBODY)
async def test_a_certificate_that_is_nobodys_is_never_taken_for_none(
    tmp_path: Path, make: Callable[[], Held], reason: Reason
) -> None:
    async with a_place(tmp_path) as place, connected(place, make()) as session:
        assert await ask(session, place) == Told(401, reason)
        assert await ask(session, place, Authorization=bearer()) == Told(401, reason)
        async with session.get(f"{place.url}/v1/none") as answer:
            assert answer.status == 401, "nobody learns which routes exist before saying who they are"
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="sekisho"'


NO_HANDSHAKE: Final[dict[str, Callable[[], Held]]] = {
    "another CA's certificate": lambda: service(issuer=a_ca("Stranger")),
    "a certificate of a stranger who bears our CA's name": lambda: service(issuer=a_ca("Corp CA")),
    "an expired certificate": lambda: service(until=-YEARS + 60),
    "a server's certificate": lambda: service(usages=[SERVER]),
}


@pytest.mark.parametrize("make", NO_HANDSHAKE.values(), ids=NO_HANDSHAKE)
async def test_the_handshake_fails_with(tmp_path: Path, make: Callable[[], Held]) -> None:
    async with a_place(tmp_path) as place, connected(place, make()) as session:
        with pytest.raises(aiohttp.ClientError):
            await ask(session, place)
        async with connected(place) as other:
            assert (await ask(other, place, Authorization=bearer())).status == 200


async def test_where_certificates_are_required_nobody_gets_in_without(tmp_path: Path) -> None:
    async with a_place(tmp_path, tls_client="required") as place:
        async with connected(place) as session:
            with pytest.raises(aiohttp.ClientError):
                await ask(session, place, Authorization=bearer())
        async with connected(place, service()) as session:
            assert (await ask(session, place)).status == 200


async def test_a_listed_intermediate_is_enough(tmp_path: Path) -> None:
    lists = current_list(issuer=corp_intermediate()).decode()
    files = bundle(**{"ca.pem": corp_intermediate().pem, "mesh.crl": lists})
    async with (
        a_place(tmp_path, files=files) as place,
        connected(place, service(issuer=corp_intermediate())) as session,
    ):
        assert (await ask(session, place)).status == 200


async def test_where_certificates_are_off_nobody_is_asked_for_one(tmp_path: Path) -> None:
    async with a_place(tmp_path, tls_client="off") as place, connected(place, service()) as session:
        assert await ask(session, place) == Told(401, Reason.TOKEN_MISSING)


async def test_an_operator_is_told_of_authorities_whose_certificates_nobody_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_place(tmp_path / "off", tls_client="off"):
        assert [each.getMessage() for each in caplog.records if "--tls-client" in each.getMessage()]
    caplog.clear()
    async with a_place(tmp_path / "on", tls_client="optional"):
        assert not [each.getMessage() for each in caplog.records if "--tls-client" in each.getMessage()]


# Bytes on the TLS port.


@pytest.mark.parametrize("tls_client", ["optional", "required"])
async def test_a_client_hello_that_comes_byte_by_byte_is_asked_for_a_certificate_all_the_same(
    tmp_path: Path, tls_client: str
) -> None:
    """Traefik CVE-2026-32305: a fragmented ClientHello, whose SNI was not seen, came in without mTLS."""
    async with a_place(tmp_path, tls_client=tls_client) as place:
        for held in (service(), None):
            status = await asyncio.to_thread(_dribble, place, trusting(held, place.folder))
            expected = 200 if held else 401 if tls_client == "optional" else 0
            assert status == expected


def shake(secured: ssl.SSLObject) -> bool:
    secured.do_handshake()
    return True


def _dribble(place: Place, context: ssl.SSLContext) -> int:
    """Send the first flight a byte at a time, then a request; return its status, 0 if there was none."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secured = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection((place.host, place.port), timeout=20) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def drive(step: Callable[[], Any], size: int) -> Any:
            while True:
                try:
                    found = step()
                except ssl.SSLWantReadError:
                    found = None
                data = outgoing.read()
                for start in range(0, len(data), size):
                    wire.sendall(data[start : start + size])
                if found is not None:
                    return found
                more = wire.recv(65536)
                if not more:
                    raise ConnectionError("the gateway has closed")
                incoming.write(more)

        try:
            drive(lambda: shake(secured), 1)
            request = f"GET {USER} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            drive(lambda: secured.write(request), 65536)
            return int(drive(lambda: secured.read(65536), 65536).split()[1])
        except (OSError, ssl.SSLError):
            return 0


GARBAGE: Final = {
    "plain HTTP": f"GET {USER} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "half a ClientHello": bytes.fromhex("1603010200010001fc0303"),
    "SSL 2": bytes.fromhex("802e0100020015000000100100800200800600400400800700c0"),
    "noise": bytes(range(256)) * 4,
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
async def test_what_is_no_tls_is_answered_with_no_http_and_harms_nobody(tmp_path: Path, data: bytes) -> None:
    async with a_place(tmp_path) as place:
        reader, writer = await asyncio.open_connection(place.host, place.port)
        writer.write(data)
        writer.write_eof()
        with contextlib.suppress(OSError):
            got = await asyncio.wait_for(reader.read(), 20)
            assert not got.startswith(b"HTTP/")
        writer.close()
        async with connected(place, service()) as session:
            assert (await ask(session, place)).status == 200
        assert len(place.records()) == 1


async def test_old_versions_of_tls_are_not_spoken_and_tls_1_3_has_no_session_to_resume(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        old = trusting(service(), tmp_path)
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises((OSError, ssl.SSLError)):
            await asyncio.open_connection("localhost", place.port, ssl=old)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = trusting(service(), tmp_path)
            context.minimum_version = context.maximum_version = version
            is_resumed = await asyncio.to_thread(_is_resumed, place, context)
            assert not (is_resumed and version is ssl.TLSVersion.TLSv1_3)


def _is_resumed(place: Place, context: ssl.SSLContext) -> bool:
    session, resumed = None, False
    for _ in range(2):
        raw = socket.create_connection((place.host, place.port), timeout=20)
        with context.wrap_socket(raw, server_hostname="localhost", session=session) as secured:
            secured.sendall(f"GET {USER} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            assert secured.recv(12) == b"HTTP/1.1 200"
            session, resumed = secured.session, secured.session_reused or False
    return resumed


# Through a trusted mesh.


def through_mesh(folder: Path, **flags: Any) -> contextlib.AbstractAsyncContextManager[Place]:
    return a_place(folder, client_certificate="xfcc", tls_client="off", **flags)


async def test_a_trusted_mesh_forwards_who_a_service_is(tmp_path: Path) -> None:
    async with through_mesh(tmp_path) as place, connected(place) as session:
        found = await ask(session, place, X_Forwarded_Client_Cert=service().forwarded())
        assert found.status == 200
        assert not [name for name in found.got if "cert" in name.lower()], "it never reaches the API"
        assert await ask(session, place) == Told(401, Reason.TOKEN_MISSING)


async def test_lesson_10_a_forwarded_certificate_from_an_untrusted_peer_is_nothing(tmp_path: Path) -> None:
    files = bundle()
    files["parties.yaml"] = files["parties.yaml"].replace("[127.0.0.1/32]", "[10.9.9.9/32]")
    async with through_mesh(tmp_path, files=files) as place, connected(place) as session:
        forged = service().forwarded()
        assert await ask(session, place, X_Forwarded_Client_Cert=forged) == Told(401, Reason.TOKEN_MISSING)
        found = await ask(session, place, X_Forwarded_Client_Cert=forged, Authorization=bearer())
        assert (found.status, [name for name in found.got if "cert" in name.lower()]) == (200, [])


async def test_lesson_10_a_forwarded_certificate_is_nothing_where_identity_comes_from_tls(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        forged = service(REPORTS).forwarded()
        async with connected(place) as session:
            assert await ask(session, place, X_Forwarded_Client_Cert=forged) == Told(401, Reason.TOKEN_MISSING)
        async with connected(place, service()) as session:
            assert (await ask(session, place, X_Forwarded_Client_Cert=f"{forged},{forged}")).status == 200


async def test_the_certificate_of_the_meshs_own_connection_identifies_nobody(tmp_path: Path) -> None:
    async with (
        a_place(tmp_path, client_certificate="xfcc", tls_client="required") as place,
        connected(place, service("spiffe://corp.example/sidecar")) as session,
    ):
        assert await ask(session, place) == Told(401, Reason.TOKEN_MISSING)
        assert (await ask(session, place, X_Forwarded_Client_Cert=service().forwarded())).status == 200


FORWARDED: Final[dict[str, tuple[Callable[[], str], int, Reason]]] = {
    "two elements": (
        lambda: f"{service().forwarded()},{service().forwarded()}",
        400,
        Reason.FORWARDED_CERTIFICATE_REPEATED,
    ),
    "no certificate in it": (
        lambda: f'Hash={"0" * 64};Subject="CN=billing";URI={BILLING}',
        400,
        Reason.FORWARDED_CERTIFICATE_MISSING,
    ),
    "nothing that reads": (lambda: "Cert", 400, Reason.FORWARDED_CERTIFICATE_MALFORMED),
    "a certificate of a stranger": (
        lambda: service(issuer=a_ca("Corp CA")).forwarded(),
        401,
        Reason.CERTIFICATE_AUTHORITY_UNDECLARED,
    ),
    "an expired certificate": (lambda: service(until=-YEARS + 60).forwarded(), 401, Reason.CERTIFICATE_EXPIRED),
    "a server's certificate": (
        lambda: service(usages=[SERVER]).forwarded(),
        401,
        Reason.CERTIFICATE_USAGE_OTHER,
    ),
}


@pytest.mark.parametrize(("make", "status", "reason"), FORWARDED.values(), ids=FORWARDED)
async def test_a_forwarded_certificate_is_refused_with(
    tmp_path: Path, make: Callable[[], str], status: int, reason: Reason
) -> None:
    async with through_mesh(tmp_path) as place, connected(place) as session:
        for more in ({}, {"Authorization": bearer()}):
            assert await ask(session, place, X_Forwarded_Client_Cert=make(), **more) == Told(status, reason)


async def test_a_forwarded_certificate_in_two_fields_is_refused_and_an_alias_is_nothing(tmp_path: Path) -> None:
    async with through_mesh(tmp_path) as place, connected(place) as session:
        value = service().forwarded()
        for fields, reason in (
            ([("X-Forwarded-Client-Cert", value), ("X-Forwarded-Client-Cert", value)], Reason.HEADER_REPEATED),
            ([("X_Forwarded_Client_Cert", value)], Reason.TOKEN_MISSING),
            ([("X-Forwarded-Client_Cert", value)], Reason.TOKEN_MISSING),
            ([("Client-Cert", value)], Reason.TOKEN_MISSING),
        ):
            async with session.get(place.url + USER, headers=fields) as answer:
                assert (await answer.json()).get("reason") == reason, fields[0][0]


# What changes without a restart.


async def test_a_revoked_service_is_denied_on_its_open_connection_and_nobody_else_is_disturbed(tmp_path: Path) -> None:
    bad, good = service(), service(REPORTS)
    async with a_place(tmp_path) as place, connected(place, bad) as revoked, connected(place, good) as other:
        assert (await ask(revoked, place)).status == (await ask(other, place)).status == 200
        (place.policies / "mesh.crl").write_bytes(current_list(bad))

        async def is_denied() -> bool:
            return await ask(revoked, place) == Told(401, Reason.CERTIFICATE_REVOKED)

        port = _local_port(revoked), _local_port(other)
        await becomes(is_denied)
        assert (await ask(other, place)).status == 200
        assert (_local_port(revoked), _local_port(other)) == port, "no connection was dropped"


def _local_port(session: aiohttp.ClientSession) -> int:
    connector = session.connector
    assert connector is not None
    ((protocol, _),) = next(iter(connector._conns.values()))
    assert protocol.transport is not None
    return int(protocol.transport.get_extra_info("sockname")[1])


async def test_what_a_revoked_service_is_being_answered_is_cut(tmp_path: Path) -> None:
    more = asyncio.Event()

    async def stream(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await more.wait()
        return response

    bad = service()
    async with a_place(tmp_path, stream) as place, connected(place, bad) as session:
        answer = await session.get(place.url + USER)
        assert await answer.content.readexactly(5) == b"first"
        (place.policies / "mesh.crl").write_bytes(current_list(bad))
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(answer.read(), 20)
        (end,) = await place.wait_for_ends(1)
        assert end["reason"] == Reason.POLICY_CHANGED
        more.set()


async def test_a_list_that_ends_leaves_nobody_in(tmp_path: Path) -> None:
    ended = a_list(corp_ca(), since=-2 * YEARS, until=-YEARS).decode()
    async with a_place(tmp_path, files=bundle(**{"mesh.crl": ended})) as place, connected(place, service()) as session:
        assert await ask(session, place) == Told(503, Reason.CERTIFICATE_REVOCATION_UNKNOWN)


async def test_a_list_that_cannot_be_read_leaves_the_last_good_one(tmp_path: Path) -> None:
    bad = service()
    files = bundle(**{"mesh.crl": current_list(bad).decode()})
    async with a_place(tmp_path, files=files) as place, connected(place, bad) as session:
        (place.policies / "mesh.crl").write_bytes(current_list()[:100])
        await becomes(lambda: _is_stale(place, "mesh.crl"))
        assert await ask(session, place) == Told(401, Reason.CERTIFICATE_REVOKED)


async def _is_stale(place: Place, word: str) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"{place.admin}/readyz") as answer:
        return word in " ".join((await answer.json())["stale"])


async def test_an_authority_that_is_taken_away_and_another_that_comes(tmp_path: Path) -> None:
    new_ca = a_ca("New CA")
    old, new = service(), service(issuer=new_ca)
    async with a_place(tmp_path) as place, connected(place, old) as session:
        assert (await ask(session, place)).status == 200
        (place.policies / "mesh.crl").write_bytes(current_list(issuer=new_ca))
        (place.policies / "ca.pem").write_text(new_ca.pem, encoding="ascii")

        async def is_denied() -> bool:
            return await ask(session, place) == Told(401, Reason.CERTIFICATE_AUTHORITY_UNDECLARED)

        await becomes(is_denied)

        async def gets_in() -> bool:
            with contextlib.suppress(aiohttp.ClientError):
                async with connected(place, new) as fresh:
                    return (await ask(fresh, place)).status == 200
            return False

        await becomes(gets_in)
        async with connected(place, old) as again:
            with pytest.raises(aiohttp.ClientError):
                await ask(again, place)


async def _shown(place: Place) -> int:
    """Return the serial number of the certificate that the gateway shows."""
    _, writer = await asyncio.open_connection("localhost", place.port, ssl=trusting())
    secured = writer.get_extra_info("ssl_object")
    der = secured.getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number


async def test_a_renewed_certificate_is_shown_to_whoever_connects_and_nobody_is_disconnected(tmp_path: Path) -> None:
    renewed = own()
    async with a_place(tmp_path) as place, connected(place, service()) as session:
        assert (await ask(session, place)).status == 200
        port = _local_port(session)
        place.write(renewed)

        async def is_shown() -> bool:
            return await _shown(place) == renewed.certificate.serial_number

        await becomes(is_shown)
        assert (await ask(session, place)).status == 200
        assert _local_port(session) == port
        assert (await _metrics(place))["sekisho_tls_certificate_expiry_timestamp_seconds"] == pytest.approx(
            renewed.certificate.not_valid_after_utc.timestamp()
        )


async def _metrics(place: Place) -> dict[str, float]:
    async with aiohttp.ClientSession() as session, session.get(f"{place.admin}/metrics") as answer:
        lines = [line for line in (await answer.text()).splitlines() if not line.startswith("#")]
    found = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
    return {'sekisho_tls_reloads_total{result="failed"}': 0.0, **found}


BAD_FILES: Final[dict[str, tuple[str, Callable[[], str]]]] = {
    "a key of another": ("own.key", lambda: own().key_pem),
    "a certificate of another": ("own.pem", lambda: own().pem),
    "half a certificate": ("own.pem", lambda: own().pem[:200]),
    "an empty certificate": ("own.pem", lambda: ""),
    "an empty key": ("own.key", lambda: ""),
}


@pytest.mark.parametrize(("name", "make"), BAD_FILES.values(), ids=BAD_FILES)
async def test_the_old_certificate_stays_in_use_while_there_is(
    tmp_path: Path, name: str, make: Callable[[], str]
) -> None:
    async with a_place(tmp_path) as place:
        before = await _shown(place)
        (place.folder / name).write_text(make(), encoding="ascii")

        async def is_told() -> bool:
            return (await _metrics(place))['sekisho_tls_reloads_total{result="failed"}'] >= 1

        await becomes(is_told)
        assert await _shown(place) == before
        assert (await _metrics(place))["sekisho_tls_stale"] == 1
        assert "the old one stays" in (await _tls_doubts(place))[0]
        renewed = own()
        place.write(renewed)

        async def is_shown() -> bool:
            is_new = await _shown(place) == renewed.certificate.serial_number
            return is_new and (await _metrics(place))["sekisho_tls_stale"] == 0

        await becomes(is_shown)
        assert await _tls_doubts(place) == []


async def test_the_old_key_stays_in_use_while_others_may_read_the_new_one(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        (place.folder / "own.key").chmod(0o644)

        async def is_told() -> bool:
            return any("own.key is open to others (mode 644)" in doubt for doubt in await _tls_doubts(place))

        await becomes(is_told)
        async with connected(place, service()) as session:
            assert (await ask(session, place)).status == 200
        (place.folder / "own.key").chmod(0o440)

        async def is_well() -> bool:
            return not await _tls_doubts(place)

        await becomes(is_well)


async def _tls_doubts(place: Place) -> list[str]:
    async with aiohttp.ClientSession() as session, session.get(f"{place.admin}/readyz") as answer:
        assert answer.status == 200, "it keeps nothing from being decided"
        doubts: list[str] = (await answer.json())["tls_doubts"]
        return doubts


async def test_no_handshake_fails_while_certificates_change_again_and_again(tmp_path: Path) -> None:
    async with a_place(tmp_path, watch_seconds=0.02) as place:
        await _hammer(place)


def test_no_handshake_fails_meanwhile_on_the_loop_that_serves(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_place(tmp_path, watch_seconds=0.02) as place:
            await _hammer(place)
            async with connected(place, service()) as session:
                assert (await ask(session, place)).status == 200

    uvloop.run(run())


def _is_seen(held: Held, shown: set[int], callers: Sequence[asyncio.Future[int]]) -> bool:
    return held.certificate.serial_number in shown or any(caller.done() for caller in callers)


async def _hammer(place: Place) -> None:
    """Connect again and again while the certificate is renewed, until six have been shown."""
    shown: set[int] = set()
    stop = asyncio.Event()

    async def connect() -> int:
        count = 0
        while not stop.is_set():
            shown.add(await _shown(place))
            count += 1
        return count

    callers = [asyncio.ensure_future(connect()) for _ in range(4)]
    for _ in range(6):
        renewed = own()
        place.write(renewed)
        await wait_for(functools.partial(_is_seen, renewed, shown, callers), 30)
    stop.set()
    counts = await asyncio.gather(*callers)
    assert len(shown) >= 6
    assert all(counts)


# What cannot start.

BAD_SETTINGS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "a certificate without key": ({"tls_key": None}, "--tls-key"),
    "a key without certificate": ({"tls_certificate": None, "tls_client": "off"}, "--tls-certificate"),
    "certificates of clients without TLS": ({"tls_certificate": None, "tls_key": None}, "--tls-client"),
    "a certificate that is not there": ({"tls_certificate": Path("none.pem")}, "none.pem"),
    "PROXY headers, which clients could write inside TLS": ({"client_address": "proxy-protocol"}, "--client-address"),
}


@pytest.mark.parametrize(("flags", "mend"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
async def test_a_gateway_does_not_start_with(tmp_path: Path, flags: dict[str, Any], mend: str) -> None:
    with pytest.raises(UsageError) as raised:
        async with a_place(tmp_path, **flags):
            pass
    assert mend in str(raised.value)


async def test_a_gateway_does_not_start_that_requires_certificates_nobody_can_have(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="certificate_authorities"):
        async with a_place(
            tmp_path, authorities="", files={**bundle(), "rules.yaml": SMALL["rules.yaml"]}, tls_client="required"
        ):
            pass


async def test_a_gateway_does_not_ask_for_the_password_of_a_key(tmp_path: Path) -> None:
    held = own()
    sealed = held.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    (tmp_path / "sealed.key").touch(mode=0o600)
    (tmp_path / "sealed.key").write_bytes(sealed)
    with pytest.raises(UsageError, match="encrypted"):
        async with a_place(tmp_path, tls_key=tmp_path / "sealed.key"):
            pass
