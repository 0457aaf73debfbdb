# SPDX-License-Identifier: Apache-2.0
"""TLS towards an API: it is always verified, by the system's CAs or the deployment's own, and we may show who we are.

Files are looked at before each connection, so that renewed ones are taken up; what cannot be used then is logged, and
the last good context stays. At the start it is an error.
"""

import asyncio
import logging
import ssl
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from proxy.errors import UsageError
from proxy.gateway.options import GatewayOptions
from proxy.gateway.tls_parts import CIPHERS, load_key_pair, take_fingerprint
from proxy.model.api import Api
from proxy.model.problem import nearest

log = logging.getLogger("sekisho.gateway")

_SETTINGS = ("upstream_ca", "upstream_certificate", "upstream_key", "upstream_server_name")


class TlsFiles(msgspec.Struct, frozen=True):
    """What a deployment says of one API."""

    ca: Path | None = None
    """PEM: the CAs that its certificate may be signed by; None: those of the system."""
    certificate: Path | None = None
    """PEM: our own certificate, then those between it and its CA; None: we show none."""
    key: Path | None = None


class UpstreamTls:
    """The context for connections to one API.

    Args:
        api: whose it is.
        files: what it is made of.
        server_name: who the API shall be, and is asked for (SNI); empty: the host of its URL.
    """

    def __init__(self, api: str, files: TlsFiles, server_name: str = "") -> None:
        self.server_name = server_name
        self._api = api
        self._files = files
        self._context: ssl.SSLContext | None = None
        self._seen: tuple[object, ...] = ()
        self.stale = ""
        """Why the files as they lie there are not in use; empty while they are."""

    async def read_context(self) -> ssl.SSLContext:
        """Return the context, of the files as they are now where they can be used.

        Raises:
            UsageError: they cannot, and never could.
        """
        return await asyncio.to_thread(self.load)

    def load(self) -> ssl.SSLContext:
        """Do the same, at once.

        Raises:
            UsageError: as above.
        """
        files = self._files
        seen = take_fingerprint(files.ca, files.certificate, files.key)
        if self._context is not None and seen == self._seen:
            return self._context
        try:
            self._context = make_context(self._api, files)
        except UsageError as error:
            if self._context is None:
                raise
            self.stale = str(error)
            told = {"api": self._api, "error": self.stale}
            log.error("an API's TLS is not as declared: the old one stays", extra=told)  # noqa: TRY400
        else:
            self.stale = ""
        self._seen = seen
        return self._context


def make_context(api: str, files: TlsFiles) -> ssl.SSLContext:
    """Return a context that believes nobody but whom it is told to.

    Raises:
        UsageError: a file cannot be used; the sentence names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.hostname_checks_common_name = False
    if files.ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate CA may be all that is trusted
        _load_authorities(context, files.ca, api)
    if files.certificate is not None and files.key is not None:
        names = (f"SEKISHO_UPSTREAM_CERTIFICATE of {api!r}", f"SEKISHO_UPSTREAM_KEY of {api!r}")
        load_key_pair(context, files.certificate, files.key, names)
    return context


def _load_authorities(context: ssl.SSLContext, path: Path, api: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise UsageError(
            f"The file {path} (SEKISHO_UPSTREAM_CA of {api!r}) holds no CA certificate that can be read: it is PEM."
        ) from error
    except OSError as error:
        raise UsageError(
            f"The file {path} (SEKISHO_UPSTREAM_CA of {api!r}) cannot be read: {error.strerror}."
        ) from error


def read_tls(options: GatewayOptions, api: str) -> UpstreamTls:
    """Return what settings say of one API."""
    files = TlsFiles(options.upstream_ca.get(api), options.upstream_certificate.get(api), options.upstream_key.get(api))
    return UpstreamTls(api, files, options.upstream_server_name.get(api, ""))


def check_settings(options: GatewayOptions, apis: Sequence[Api]) -> None:
    """Refuse what is said of an API that nobody declares, or that does not speak TLS, and half of a key pair.

    Raises:
        UsageError: that is so; the sentence names the setting.
    """
    urls = {api.id: [place.url for place in api.places] for api in apis}
    for name in _SETTINGS:
        said: Mapping[str, object] = getattr(options, name)
        _check_apis(f"SEKISHO_{name.upper()}", said, urls)
    for api in options.upstream_certificate.keys() ^ options.upstream_key.keys():
        has, lacks = ("KEY", "CERTIFICATE") if api in options.upstream_key else ("CERTIFICATE", "KEY")
        raise UsageError(
            f"SEKISHO_UPSTREAM_{has} names {api!r}, and SEKISHO_UPSTREAM_{lacks} does not: name it in both."
        )


def _check_apis(setting: str, said: Collection[str], urls: Mapping[str, Sequence[str]]) -> None:
    for api in said:
        if api not in urls:
            raise UsageError(f"{setting} names an API {api!r} that the bundle does not declare{nearest(api, urls)}.")
        if not any(url.startswith("https://") for url in urls[api]):
            places = " and ".join(urls[api])
            raise UsageError(f"{setting} names {api!r}, which is at {places}, without TLS: write an https:// URL.")
