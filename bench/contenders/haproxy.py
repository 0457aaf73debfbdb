# SPDX-License-Identifier: Apache-2.0
"""HAProxy as an access gateway: RS256 on every request (no token cache), claims, GeoIP map, rules, JSON log.

- The log goes to standard output, which is a file here: one write per request, as any file would cost. A
  datagram to a syslog daemon costs HAProxy one system call as well, and would burn the driver's core.
- `deny unless` throughout: an absent claim leaves its variable unset, and an unset variable matches nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bench.countries import LISTED_COUNTRY, write_map
from bench.harness import Need, find_program
from bench.identity import AUDIENCE, ISSUER, LISTED_AFFILIATE
from bench.processes import Launch, free_port, running
from bench.setting import DUTIES_OF_ALL, Contender, Duty

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.setting import Setting

NEED: Final = Need("haproxy", "Debian's haproxy", find_program)

LOG_FORMAT: Final = (
    '{"time":"%tr","client":"%ci","method":"%HM","path":"%[capture.req.uri,json(utf8s)]","status":%ST,'
    '"milliseconds":%Ta,"bytes":%B,"sub":"%[var(txn.sub),json(utf8s)]",'
    '"affiliate":"%[var(txn.affiliate),json(utf8s)]","country":"%[var(txn.country)]"}'
)

CONFIG: Final = """
global
    nbthread 1
    maxconn 8192
    log stdout len 4096 format raw local0

defaults
    mode http
    log global
    log-format '{log_format}'
    option forwardfor
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 600s

frontend edge
    bind 127.0.0.1:{port}{tls}
    # 1. From where: the last hop before us is trusted, so the last address of its header is the client's.
    acl from_trusted_hop src 127.0.0.0/8
    http-request set-src hdr_ip(x-forwarded-for,-1) if from_trusted_hop
    http-request set-var(txn.country) src,map_ip({room}/countries.map,unknown)
    # 2. Who: signature first, then the claims.
    http-request set-var(txn.bearer) http_auth_bearer
    acl rs256 var(txn.bearer),jwt_header_query('$.alg') -m str RS256
    acl signed var(txn.bearer),jwt_verify("RS256","{room}/key.pem") -m int 1
    acl from_issuer var(txn.bearer),jwt_payload_query('$.iss') -m str {issuer}
    acl for_us var(txn.bearer),jwt_payload_query('$.aud') -m str {audience}
    http-request deny deny_status 401 unless rs256 signed from_issuer for_us
    http-request set-var(txn.now) date
    http-request set-var(txn.left) var(txn.bearer),jwt_payload_query('$.exp','int'),sub(txn.now)
    http-request deny deny_status 401 unless {{ var(txn.left) -m int gt 0 }}
    http-request set-var(txn.sub) var(txn.bearer),jwt_payload_query('$.sub')
    http-request set-var(txn.affiliate) var(txn.bearer),jwt_payload_query('$.affiliate')
    # 3. May they.
    http-request deny deny_status 403 if {{ var(txn.country) -m str {listed_country} unknown }}
    http-request deny deny_status 403 if {{ var(txn.affiliate) -m str {listed_affiliate} }}
    http-request deny deny_status 403 unless {{ var(txn.affiliate) -m found }}
    # 4. What the API sees.
    http-request del-header authorization
    default_backend users

backend users
    http-reuse always
    server users 127.0.0.1:{upstream_port}
"""


def render_config(room: Path, port: int, setting: Setting) -> str:
    """Return the configuration file."""
    certificate = setting.certificate
    return CONFIG.format(
        log_format=LOG_FORMAT,
        room=room,
        port=port,
        tls="" if certificate is None else f" ssl crt {certificate.both}",
        upstream_port=setting.upstream_port,
        issuer=ISSUER,
        audience=AUDIENCE,
        listed_country=LISTED_COUNTRY,
        listed_affiliate=LISTED_AFFILIATE,
    )


@contextmanager
def start_haproxy(setting: Setting) -> Iterator[Contender]:
    """Run HAProxy with one thread, in the foreground, without a master process."""
    room, port = setting.room("haproxy"), free_port()
    write_map(room / "countries.map")
    (room / "key.pem").write_bytes(setting.issuer.public_pem())
    (room / "haproxy.cfg").write_text(render_config(room, port, setting))
    command = [find_program("haproxy") or "haproxy", "-db", "-f", str(room / "haproxy.cfg")]
    with running(Launch(command, setting.cores.contender, port, room / "access.log")) as pid:
        yield Contender("HAProxy", pid, port, DUTIES_OF_ALL | {Duty.LOG}, room / "access.log")
