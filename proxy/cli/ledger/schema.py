# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger schema``: the JSON Schema of a ledger's lines."""

import argparse
import json

from proxy.ledger.json_schema import make_schema


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:  # noqa: ARG001 - as every verb is called
    """Print the schema."""
    print(json.dumps(make_schema(), indent=2, ensure_ascii=False))
    return 0
