# SPDX-License-Identifier: Apache-2.0
"""The command ``sekisho``: one file per verb.

Exit codes: 0 fine; 1 it loads, but the thing checked is not so; 2 it cannot be loaded or used that way.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from proxy.cli.terminal import plain
from proxy.cli.verbs import add_verbs
from proxy.errors import BundleError, SekishoError
from proxy.version import VERSION

VERBS: Final[Mapping[str, str]] = {
    "run": "serve callers",
    "check": "show every problem of a policy folder at once",
    "test": "run the tests beside the policies",
    "explain": "show how a test, a described request or a ledger line is decided, rule by rule",
    "affiliates": "draw who owns an affiliate, for whom it works, and who controls it",
    "ledger": "verify, prove and read what was recorded; make the key that signs it",
    "init": "write a small policy folder that loads",
    "routes": "draft routes from an OpenAPI document; list those that are declared, and what none declares",
    "grant": "write a dated, approved exception",
    "schema": "print a JSON Schema of policy files, for editors",
    "keygen": "make the keys under which people are recorded",
    "keys": "make, rotate and publish the keys that sign decisions for APIs",
    "probe": "try to reach the APIs without the gateway, which must not be possible",
    "health": "ask a running gateway whether it lives",
    "demo": "play the LINE story through a real gateway",
    "sample": "serve the demo's API, directory and issuer, each by itself, and call them",
}
"""Each verb is a module of this package; only the one that is asked for is imported."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _make_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except BundleError as error:
        print(plain(str(error), keep_newlines=True), file=sys.stderr)
        count = len(error.problems)
        print(f"{count} problem{'' if count == 1 else 's'}: nothing was loaded.", file=sys.stderr)
        return 2
    except SekishoError as error:
        print(plain(f"sekisho: {error}", keep_newlines=True), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has read enough
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for the interpreter's last flush
        return 1
    return code


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sekisho", description="The checkpoint in front of internal APIs that hold personal data."
    )
    parser.add_argument("--version", action="version", version=f"sekisho {VERSION}")
    add_verbs(parser, "proxy.cli", VERBS)
    return parser
