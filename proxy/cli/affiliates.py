# SPDX-License-Identifier: Apache-2.0
"""``sekisho affiliates show ID``: who owns an affiliate, for whom it works, and what each control rule says of it."""

import argparse
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from proxy.bundle.check import load_bundle
from proxy.cli.kin import Kin, draw_mermaid, draw_tree, find_kin
from proxy.clock import unix_seconds
from proxy.errors import UsageError
from proxy.model.entry import parse_instant
from proxy.model.problem import nearest

MIN_WIDTH: Final = 132
"""Columns that the tree needs so that nothing is cut off."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="draw one affiliate with its owners, principals and subcontractors")
    add = show.add_argument
    add("id", metavar="ID", help="the affiliate")
    add("--policies", type=Path, default=Path("policies"), metavar="DIR", help="the policy folder (policies)")
    add("--at", metavar="INSTANT", help="when, such as 2027-06-30T09:00:00+09:00 (now)")
    add("--mermaid", action="store_true", help="print a diagram for documents, in Mermaid")
    add("--json", action="store_true", help="print one JSON object")
    show.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print one affiliate as it is at one instant."""
    try:
        at = unix_seconds() if options.at is None else parse_instant(options.at).timestamp()
    except ValueError as error:
        raise UsageError(f"--at: {error}.") from error
    snapshot = load_bundle(options.policies, now=at)
    known = {party.id for party in snapshot.parties}
    if options.id not in known:
        raise UsageError(f"There is no affiliate {options.id!r}{nearest(options.id, known)}.")
    kin: Kin = find_kin(options.id, snapshot, at)
    if options.json:
        print(msgspec.json.encode(kin).decode())
    elif options.mermaid:
        print(draw_mermaid(kin))
    else:
        console = Console(highlight=False)
        console.width = max(console.width, MIN_WIDTH)
        console.print(draw_tree(kin))
    return 0
