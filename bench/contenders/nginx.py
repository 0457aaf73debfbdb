# SPDX-License-Identifier: Apache-2.0
"""nginx twice: the upstream API with its resources, and the plain proxy that marks the floor."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bench.answers import ARCHIVE_BODY, ASSERTED_PATH, HISTORY_BODY, NOTED_BODY, SMALL_BODY
from bench.harness import Need, find_program
from bench.processes import Cores, Launch, free_port, running
from bench.setting import Contender

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.certificate import Certificate
    from bench.setting import Setting

NEED: Final = Need("nginx", "Debian's nginx", find_program)

# Two defaults would spoil the figures: nginx closes a connection after 1,000 requests, towards its clients
# and (keepalive_requests inside `upstream`) towards the API alike.
COMMON: Final = """
{user}
daemon off;
worker_processes 1;
pid {room}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/json;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    client_body_temp_path {room}/body;
    proxy_temp_path {room}/proxy;
    fastcgi_temp_path {room}/fastcgi;
    uwsgi_temp_path {room}/uwsgi;
    scgi_temp_path {room}/scgi;
    {site}
}}
"""

API_SITE: Final = """
    open_file_cache max=16 inactive=600s;
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 '{small}'; }}
        location = {asserted} {{ return 200 '$http_sekisho_assertion'; }}
        location ~ /notes$ {{ return 201 '{note}'; }}
        location ~ /history$ {{ alias {room}/history.json; }}
        location ~ /archive$ {{ alias {room}/archive.json; }}
    }}
"""

PROXY_SITE: Final = """
    upstream users {{
        server 127.0.0.1:{upstream_port};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen 127.0.0.1:{port}{tls};
        {certificate}
        location / {{
            proxy_pass http://users;
            proxy_max_temp_file_size 0;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
"""


def launch_nginx(room: Path, site: str, core: int, port: int) -> Launch:
    """Write the configuration and return how to start it."""
    # Started by root, nginx would hand its worker to nobody, who may not write into the room.
    user = "user root;" if os.geteuid() == 0 else ""
    config = room / "nginx.conf"
    config.write_text(COMMON.format(user=user, room=room, site=site))
    program = find_program("nginx") or "nginx"
    command = [program, "-p", str(room), "-e", "stderr", "-c", str(config)]
    return Launch(command, core, port, room / "output")


@contextmanager
def start_upstream(folder: Path, cores: Cores) -> Iterator[int]:
    """Run the API that all contenders protect, on the driver's core, and give its port."""
    room, port = folder / "upstream", free_port()
    room.mkdir()
    (room / "history.json").write_bytes(HISTORY_BODY)
    (room / "archive.json").write_bytes(ARCHIVE_BODY)
    bodies = {"small": SMALL_BODY.decode(), "note": NOTED_BODY.decode()}
    site = API_SITE.format(port=port, room=room, asserted=ASSERTED_PATH, **bodies)
    with running(launch_nginx(room, site, cores.driver, port)):
        yield port


@contextmanager
def start_nginx(setting: Setting) -> Iterator[Contender]:
    """Run the plain proxy."""
    room, port = setting.room("nginx"), free_port()
    site = PROXY_SITE.format(port=port, upstream_port=setting.upstream_port, **tls_of(setting.certificate))
    with running(launch_nginx(room, site, setting.cores.contender, port)) as pid:
        yield Contender("nginx plain", pid, port, frozenset())


def tls_of(certificate: Certificate | None) -> dict[str, str]:
    """Return what the listener says of TLS."""
    if certificate is None:
        return {"tls": "", "certificate": ""}
    return {
        "tls": " ssl",
        "certificate": f"ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};",
    }
