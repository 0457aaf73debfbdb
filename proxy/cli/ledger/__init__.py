# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger VERB``: one file per verb."""

import argparse
from collections.abc import Mapping
from typing import Final

from proxy.cli.verbs import add_verbs

VERBS: Final[Mapping[str, str]] = {
    "keygen": "make the key that signs a ledger, and the one that verifies it",
    "tail": "show the last lines, and those that follow",
    "show": "show everything that is recorded of one request, in words",
    "query": "list or count decisions by who, from where, whose data, rule and time",
    "export": "print decisions in the schema of OCSF",
    "verify": "tell whether anything was changed, left out or cut off, and where",
    "prove": "hand out one decision with the proof that it is in the ledger",
    "check-proof": "verify such a proof with nothing but the key",
    "consistency": "prove that one checkpoint continues another",
    "resolve": "tell in which records given people appear, with the keys of pseudonyms",
    "forget": "erase the key of a month, so that nobody can link its records to people any more",
    "schema": "print the JSON Schema of the lines",
}
"""Each verb is a module of this package; only the one that is asked for is imported."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verbs."""
    add_verbs(parser, "proxy.cli.ledger", VERBS)
