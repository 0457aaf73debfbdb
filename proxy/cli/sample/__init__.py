# SPDX-License-Identifier: Apache-2.0
"""``sekisho sample VERB``: the demo's services, each as a process of its own, and callers for them."""

import argparse
from collections.abc import Mapping
from typing import Final

from proxy.cli.verbs import add_verbs

VERBS: Final[Mapping[str, str]] = {
    "api": "serve made-up personal data to whoever asks",
    "directory": "tell the countries of those users, by their ids",
    "issuer": "publish keys, and give tokens of made-up people to whoever asks",
    "receiver": "show the alerts that are posted to a webhook",
    "call": "send one request, with a token if somebody is named",
    "story": "play the LINE story from the networks that this machine is in",
}
"""Each verb is a module of this package; only the one that is asked for is imported."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verbs."""
    add_verbs(parser, "proxy.cli.sample", VERBS)


def add_listen_flag(parser: argparse.ArgumentParser, default: str) -> None:
    """Add ``--listen``, on loopback unless told: none of these asks who it talks to."""
    parser.add_argument("--listen", default=default, metavar="HOST:PORT", help=f"where it is served ({default})")
