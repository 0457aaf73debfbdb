# SPDX-License-Identifier: Apache-2.0
"""Keeps what is put in force, and loads again what once was. This module does I/O."""

import asyncio
from pathlib import Path
from typing import NamedTuple

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.errors import UsageError
from proxy.ledger.archive import Archive, Bundle, Kept, find_changes, find_kept, read_kept
from proxy.ledger.segments import BUNDLES


class Decided(NamedTuple):
    """A bundle that once decided, loaded again."""

    snapshot: Snapshot
    remarks: tuple[str, ...]
    """What whoever reads an explanation under it should know."""


async def keep_bundle(archive: Archive | None, snapshot: Snapshot) -> None:
    """Keep a bundle before it is put in force; requests are served meanwhile.

    Args:
        archive: where; None keeps nothing: there is no folder beside the records.
        snapshot: the bundle.

    Raises:
        ArchiveError: it is not kept.
    """
    bundle = Bundle(
        snapshot.digest, snapshot.policy_digest, snapshot.registers_digest, snapshot.name, snapshot.revision
    )
    if archive is not None:
        await asyncio.to_thread(archive.keep, snapshot.folder, snapshot.sources, bundle)


def load_kept(ledger: Path, prefix: str, now: float) -> Decided:
    """Load the bundle that a decision line names.

    Args:
        ledger: the folder of the ledger.
        prefix: the beginning of the bundle's digest, as the line says it.
        now: the instant of the decision, with whose registers it is loaded.

    Raises:
        UsageError: it is not kept there, or was changed since.
        BundleError: this version does not take it.
    """
    place = find_kept(ledger, prefix)
    if place is None:
        raise UsageError(
            f"The bundle {prefix or 'without a name'} that decided it is not kept in {ledger / BUNDLES}: name a policy "
            "folder to see what that one says of it, such as a checkout of the revision in the `bundle` line."
        )
    kept = read_kept(place)
    changed = ("kept.json",) if kept is None else find_changes(place, kept)
    if kept is None or changed:
        raise UsageError(
            f"{place} is not as it was kept ({', '.join(changed)}): it is not what decided. Take it from a copy of the "
            "ledger's folder, or name a policy folder."
        )
    snapshot = load_bundle(place, now=now)
    return Decided(snapshot, tuple(_remark(kept, snapshot)))


def _remark(kept: Kept, snapshot: Snapshot) -> list[str]:
    if snapshot.digest != kept.bundle.digest:
        made = f"version {kept.version} of this program, or its kept.json was forged"
        return [f"what is kept is read as another bundle than the one that decided: that was {made}"]
    revision = f", git revision {kept.bundle.revision}" if kept.bundle.revision else ""
    return [f"explained under the bundle that decided it: {kept.bundle.name}, in force since {kept.since}{revision}"]
