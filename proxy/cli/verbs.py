# SPDX-License-Identifier: Apache-2.0
"""Verbs of a command line, each a module that is imported when it is asked for."""

import argparse
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any


class VerbParser(argparse.ArgumentParser):
    """Parses one verb; its module is imported once there is something to parse.

    Args:
        module: has ``configure(parser)``, which adds the arguments and sets ``run``; empty where that is done already.
        options: those of ``argparse.ArgumentParser``.
    """

    def __init__(self, *, module: str = "", **options: Any) -> None:
        super().__init__(**options)
        self._module = module

    def parse_known_args(  # type: ignore[override] # argparse's own hook, as its sub-parsers call it
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the rest of a command line."""
        if self._module:
            module, self._module = import_module(self._module), ""
            module.configure(self)
        return super().parse_known_args(args, namespace)


def add_verbs(parser: argparse.ArgumentParser, package: str, verbs: Mapping[str, str]) -> None:
    """Add verbs to a parser.

    Args:
        parser: of the command, or of a verb that has verbs of its own.
        package: whose modules they are; ``check-proof`` is ``check_proof``.
        verbs: each with what it does.
    """
    adding = parser.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=VerbParser)
    for name, summary in verbs.items():
        module = f"{package}.{name.replace('-', '_')}"
        adding.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", module=module)
