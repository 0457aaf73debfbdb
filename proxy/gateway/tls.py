# SPDX-License-Identifier: Apache-2.0
"""TLS of the callers' listener, and how it changes while connections live on.

- One context serves the whole listener: what is asked of a client never depends on the name it asks for (SNI).
- A client's certificate is verified in the handshake against the CA certificates that the bundle declares; whose it
  is, and whether it is revoked, is decided per request (``caller.certificates``), so that a change reaches open
  connections, too, and sessions of TLS 1.2 that are resumed. Those of TLS 1.3 are not: there are no tickets.
- Another certificate, key or set of CA certificates makes another context. It is put in place by a second listener on
  the same socket, started before the first one is closed: no connection is refused meanwhile, and those that are
  open stay.
- Whatever is wrong with new files, the old ones stay, and somebody is told.
"""

import asyncio
import contextlib
import logging
import math
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from proxy.clock import render_instant, unix_seconds
from proxy.errors import UsageError
from proxy.gateway.options import GatewayOptions
from proxy.gateway.tls_parts import CIPHERS, MAX_FILE_BYTES, load_key_pair, take_fingerprint
from proxy.pause import Pause
from proxy.telemetry import Metrics

BACKLOG: Final = 1024
HANDSHAKE_SECONDS: Final = 10.0
"""How long a client's handshake may take."""

log = logging.getLogger("sekisho.tls")


def check_options(options: GatewayOptions) -> None:
    """Refuse settings that contradict one another.

    Raises:
        UsageError: they do.
    """
    if (options.tls_certificate is None) != (options.tls_key is None):
        raise UsageError("A certificate and its key go together: set both --tls-certificate and --tls-key.")
    if options.tls_certificate is None and options.tls_client != "off":
        raise UsageError("--tls-client asks callers for certificates: set --tls-certificate and --tls-key, too.")


def make_context(options: GatewayOptions, authorities: Sequence[bytes]) -> ssl.SSLContext:
    """Return the listener's context.

    Args:
        options: where its certificate and key are, and whether clients are asked for theirs.
        authorities: CA certificates in DER, of those that clients' certificates may be signed by.

    Raises:
        UsageError: a file cannot be used; the sentence names it.
    """
    if options.tls_certificate is None or options.tls_key is None:
        raise AssertionError("only a listener with a certificate speaks TLS")
    if options.tls_client == "required" and not authorities:
        raise UsageError(
            "--tls-client required asks for certificates that nobody could have: declare certificate_authorities in "
            "the policy folder, or say --tls-client off."
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    load_key_pair(context, options.tls_certificate, options.tls_key, ("--tls-certificate", "--tls-key"))
    if options.tls_client != "off" and authorities:
        context.verify_mode = ssl.CERT_REQUIRED if options.tls_client == "required" else ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=b"".join(authorities))
    return context


def read_expiry(certificate: Path) -> float:
    """Return when the server's own certificate ends, in seconds since 1970."""
    with certificate.open("rb") as file:
        data = file.read(MAX_FILE_BYTES)
    return x509.load_pem_x509_certificates(data)[0].not_valid_after_utc.timestamp()


def _refuse_ended(certificate: Path | None) -> None:
    """Refuse to start with a certificate that nobody takes any more; one that ends while we run is a doubt."""
    with contextlib.suppress(OSError, ValueError):  # whatever OpenSSL has taken for one is one
        ends_at = math.inf if certificate is None else read_expiry(certificate)
        if ends_at <= unix_seconds():
            raise UsageError(
                f"The certificate {certificate} (--tls-certificate) ended at {render_instant(ends_at)}: renew it."
            )


class Listener:
    """Accepts callers on one address, by one context at a time.

    Args:
        accept: returns the protocol of one connection.
    """

    def __init__(self, accept: Callable[[], asyncio.Protocol]) -> None:
        self._accept = accept
        self._sockets: list[socket.socket] = []
        self._servers: list[tuple[asyncio.AbstractServer, socket.socket]] = []

    async def start(self, host: str, port: int, context: ssl.SSLContext | None) -> tuple[str, int]:
        """Bind, accept, and return the address that was bound first.

        Raises:
            OSError: the address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                self._sockets.append(_bind(family, address))
        except OSError:
            self.close()
            raise
        await self.put(context)
        host, port, *_ = self._sockets[0].getsockname()
        return host, port

    async def take(self, sockets: Sequence[socket.socket], context: ssl.SSLContext | None) -> None:
        """Accept on these sockets, bound by somebody else, and on no others; what is connected stays connected.

        Raises:
            OSError: one of them cannot be listened on; then nothing has changed.
        """
        before, self._sockets = self._sockets, [each.dup() for each in sockets]
        try:
            await self.put(context)
        except BaseException:
            self.close()
            self._sockets = before
            raise
        for each in before:
            each.close()

    async def put(self, context: ssl.SSLContext | None) -> None:
        """Accept by another context from now on; what is connected stays connected.

        Raises:
            OSError: the socket cannot be listened on once more; then nothing has changed.
        """
        before, after = self._servers, list[tuple[asyncio.AbstractServer, socket.socket]]()
        try:
            for each in self._sockets:
                after.append(await self._serve(each.dup(), context))
        except BaseException:
            await _stop(after)
            raise
        self._servers = after
        await _stop(before)

    async def _serve(
        self, accepting: socket.socket, context: ssl.SSLContext | None
    ) -> tuple[asyncio.AbstractServer, socket.socket]:
        loop = asyncio.get_running_loop()
        handshake = None if context is None else HANDSHAKE_SECONDS
        try:
            server = await loop.create_server(
                self._accept, sock=accepting, backlog=BACKLOG, ssl=context, ssl_handshake_timeout=handshake
            )
        except BaseException:
            accepting.close()
            raise
        return server, accepting

    async def stop(self) -> None:
        """Accept nobody any more, and let go of the address."""
        before, self._servers = self._servers, []
        await _stop(before)
        self.close()

    def close(self) -> None:
        """Let go of the address."""
        for each in self._sockets:
            each.close()
        self._sockets = []


async def _stop(servers: Sequence[tuple[asyncio.AbstractServer, socket.socket]]) -> None:
    """Stop accepting; what was accepted in this round of the loop becomes a connection first, and is not lost."""
    for _, accepting in servers:
        if accepting.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(accepting.fileno())
    await asyncio.sleep(0)
    for server, _ in servers:
        server.close()


def _bind(family: int, address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.setblocking(False)  # noqa: FBT003 - the standard library's own
    except OSError:
        made.close()
        raise
    return made


class ListenerTls:
    """The context in use, and what it was made of.

    Args:
        options: where files are.
        metrics: counted are attempts to renew it; told are whether the last one failed, and when its certificate ends.
    """

    def __init__(self, options: GatewayOptions, metrics: Metrics) -> None:
        self._options = options
        self._metrics = metrics
        self._authorities: tuple[bytes, ...] = ()
        self._seen: tuple[object, ...] = ()
        self._listener: Listener | None = None
        self._pause = Pause()
        self._changing = asyncio.Lock()
        self.context: ssl.SSLContext | None = None
        """By which callers are accepted; None where there is no TLS."""
        self._stale = ""
        """Why the files as they lie there are not in use; empty while they are."""
        self._ends_at: float | None = None
        """When the certificate in use ends, in seconds since 1970; None where that is not known, or there is none."""

    @property
    def is_on(self) -> bool:
        """Whether the listener speaks TLS at all."""
        return self._options.tls_certificate is not None

    @classmethod
    async def start(cls, options: GatewayOptions, authorities: Sequence[bytes], metrics: Metrics) -> "ListenerTls":
        """Make the first context, before there is a listener.

        Args:
            options: where files are.
            authorities: CA certificates in DER that clients' certificates may be signed by.
            metrics: as above.

        Raises:
            UsageError: there can be none.
        """
        check_options(options)
        made = cls(options, metrics)
        made._authorities, made._seen = tuple(authorities), _fingerprint(options)
        if made.is_on:
            made.context = await asyncio.to_thread(make_context, options, made._authorities)
            _refuse_ended(options.tls_certificate)
        return made

    def serve(self, listener: Listener) -> None:
        """Take note of what accepts by the first context."""
        self._listener = listener
        if self.is_on:
            self._note("")

    async def adopt(self, authorities: Sequence[bytes]) -> None:
        """Ask clients for certificates of other authorities from now on.

        Where that cannot be, the old ones are asked for until it can: whose certificate identifies whom is decided per
        request, and by the bundle in force.
        """
        if self.is_on and tuple(authorities) != self._authorities:
            self._authorities = tuple(authorities)
            await self._renew()

    def find_doubts(self, now: float) -> tuple[str, ...]:
        """Return what is wrong with the listener's own certificate and key, in sentences, for who keeps it running.

        Args:
            now: seconds since 1970.
        """
        doubts = []
        if self._stale:
            doubts.append(f"the listener's TLS is not as declared, the old one stays: {self._stale}")
        if self._ends_at is not None and self._ends_at <= now:
            ended = render_instant(self._ends_at)
            doubts.append(f"the listener's certificate ended at {ended}: who verifies it takes no answer")
        return tuple(doubts)

    def poke(self) -> None:
        """Read the files again now."""
        self._seen = ()
        self._pause.end()

    async def watch(self, seconds: float) -> None:
        """Look at the server's own certificate and key, and take what changed, until cancelled.

        Args:
            seconds: between two looks; 0: only when told.
        """
        if not self.is_on:
            return
        while True:
            await self._pause.wait(seconds or None)
            try:
                await self._look()
            except Exception:  # the watch must outlive whatever files do
                log.exception("the listener's TLS could not be looked at")

    async def _look(self) -> None:
        seen = await asyncio.to_thread(_fingerprint, self._options)
        if seen == self._seen:
            return
        await self._renew()

    async def _renew(self) -> None:
        async with self._changing:
            self._seen = _fingerprint(self._options)
            try:
                context = await asyncio.to_thread(make_context, self._options, self._authorities)
                if self._listener is not None:
                    await self._listener.put(context)
                self.context = context
            except (UsageError, OSError) as error:
                if isinstance(error, OSError):  # the files are not to blame: tried again at the next look
                    self._seen = ()
                self._note(str(error))
                log.error("the listener's TLS is not as declared: the old one stays", extra={"error": str(error)})  # noqa: TRY400
                return
            self._note("")
            log.info("the listener's TLS is renewed", extra={"path": str(self._options.tls_certificate)})

    def _note(self, why_not: str) -> None:
        """Take note of an attempt.

        Args:
            why_not: why it failed; empty where the files are in use.
        """
        self._stale = why_not
        self._metrics.tls_reloads.count("failed" if why_not else "loaded")
        self._metrics.tls_stale.set(1 if why_not else 0)
        if not why_not and self._options.tls_certificate is not None:
            with contextlib.suppress(OSError, ValueError):
                self._ends_at = read_expiry(self._options.tls_certificate)
                self._metrics.tls_certificate_expires.set(self._ends_at)


def _fingerprint(options: GatewayOptions) -> tuple[object, ...]:
    return take_fingerprint(options.tls_certificate, options.tls_key)
