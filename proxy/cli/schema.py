# SPDX-License-Identifier: Apache-2.0
"""``sekisho schema [WHAT]``: a JSON Schema of policy files, so that an editor completes and checks while one types."""

import argparse
import json

from proxy.bundle.json_schema import FILES, make_schema


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    what = "files: those that the manifest lists (the default); manifest: bundle.yaml; pack: pack.yaml"
    what += "; emergency: those in emergency_denies"
    parser.add_argument("what", nargs="?", choices=tuple(FILES), default="files", help=what)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the schema."""
    print(json.dumps(make_schema(options.what), indent=2))
    return 0
