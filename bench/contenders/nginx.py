# SPDX-License-Identifier: Apache-2.0
"""nginx twice: the upstream API that answers a small JSON body, and the plain proxy that marks the floor."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bench.harness import Need, find_program
from bench.processes import Cores, Launch, free_port, running
from bench.setting import Contender

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.setting import Setting

NEED: Final = Need("nginx", "Debian's nginx", find_program)

SMALL_BODY: Final = json.dumps(
    {
        "id": "417",
        "name": "Hanako Yamada",
        "email": "hanako.yamada@example.com",
        "phone": "+81-3-0000-0000",
        "address": {"country": "JP", "city": "Tokyo", "line": "1-1 Example"},
        "employment_type": "permanent",
    }
)
"""Some 200 bytes; no dollar sign and no single quote, which nginx would read as its own."""

# Two defaults would spoil the figures: nginx closes a connection after 1,000 requests, towards its clients
# and (keepalive_requests inside `upstream`) towards the API alike.
COMMON: Final = """
{user}
daemon off;
worker_processes 1;
pid {room}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
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
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 '{body}'; }}
    }}
"""

PROXY_SITE: Final = """
    upstream users {{
        server 127.0.0.1:{upstream_port};
        keepalive 64;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://users;
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
    site = API_SITE.format(port=port, body=SMALL_BODY)
    with running(launch_nginx(room, site, cores.driver, port)):
        yield port


@contextmanager
def start_nginx(setting: Setting) -> Iterator[Contender]:
    """Run the plain proxy."""
    room, port = setting.room("nginx"), free_port()
    site = PROXY_SITE.format(port=port, upstream_port=setting.upstream_port)
    with running(launch_nginx(room, site, setting.cores.contender, port)) as pid:
        yield Contender("nginx plain", pid, port, frozenset())
