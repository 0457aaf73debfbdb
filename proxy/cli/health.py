# SPDX-License-Identifier: Apache-2.0
"""``sekisho health``: asks a running gateway whether it lives, for images that have no curl."""

import argparse
import http.client
from typing import Final

from proxy.cli.terminal import plain
from proxy.errors import UsageError
from proxy.model.entry import parse_id
from proxy.settings import parse_endpoint, read_settings

TIMEOUT_SECONDS: Final = 3.0
"""Longer than the gateway waits for an API, or for its workers."""
MAX_BYTES: Final = 64 * 1024
"""What is printed of an answer at most."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--admin", metavar="HOST:PORT", help="the gateway's admin listener (127.0.0.1:9090)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--ready", action="store_true", help="ask whether it can decide, not only whether it lives")
    what.add_argument("--api", metavar="ID", help="ask whether that API is healthy: SEKISHO_UPSTREAM_HEALTH")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask; 1 if the answer is no, or if there is none."""
    host, port = parse_endpoint(read_settings(admin=options.admin).admin, "--admin")
    path = "/readyz" if options.ready else "/livez" if options.api is None else _find_path(options.api)
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        print(plain(answer.read(MAX_BYTES).decode("utf-8", "replace")))
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        print(f"No answer from {host}:{port}: {_tell(error)}.")
        return 1
    finally:
        connection.close()
    return 0 if answer.status == http.HTTPStatus.OK else 1


def _find_path(api: str) -> str:
    try:
        return f"/apis/{parse_id(api)}/health"
    except ValueError as error:
        raise UsageError(f"--api: {error}.") from error


def _tell(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
