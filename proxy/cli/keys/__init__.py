# SPDX-License-Identifier: Apache-2.0
"""``sekisho keys VERB``: the keys that sign decisions for APIs; one file per verb."""

import argparse
from collections.abc import Mapping
from typing import Final

from proxy.cli.verbs import add_verbs

VERBS: Final[Mapping[str, str]] = {
    "new": "make a file with a key that signs decisions for APIs",
    "rotate": "add a key that signs from a later moment on",
    "export": "print the public keys as a JWK Set",
}
"""Each verb is a module of this package; only the one that is asked for is imported."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verbs."""
    add_verbs(parser, "proxy.cli.keys", VERBS)
