# SPDX-License-Identifier: Apache-2.0
"""``sekisho health``: asks a running gateway whether it lives, for images that have no curl."""

import argparse
import http.client
from typing import Final

from proxy.settings import parse_endpoint, read_settings

TIMEOUT_SECONDS: Final = 2.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--admin", metavar="HOST:PORT", help="the gateway's admin listener (127.0.0.1:9090)")
    parser.add_argument("--ready", action="store_true", help="ask whether it can decide, not only whether it lives")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask; 1 if the answer is no, or if there is none."""
    host, port = parse_endpoint(read_settings(admin=options.admin).admin, "--admin")
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/readyz" if options.ready else "/livez")
        answer = connection.getresponse()
        print(answer.read().decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException) as error:
        print(f"No answer from {host}:{port}: {type(error).__name__}.")
        return 1
    finally:
        connection.close()
    return 0 if answer.status == http.HTTPStatus.OK else 1
