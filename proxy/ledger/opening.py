# SPDX-License-Identifier: Apache-2.0
"""Opens the ledger that a deployment's settings name. This module does I/O."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proxy.errors import UsageError
from proxy.ledger.files import Folder
from proxy.ledger.journal import Journal
from proxy.ledger.key_file import read_signing_key
from proxy.ledger.note import SigningKey
from proxy.ledger.options import LedgerOptions
from proxy.ledger.parts import join_name
from proxy.ledger.prove import root_at
from proxy.ledger.segments import list_segments
from proxy.ledger.sink import Sink
from proxy.ledger.stdout import StandardOutput, Stream
from proxy.ledger.witness import Witnesses, check_against
from proxy.ledger.witness_place import FolderWitness, Witness, make_witness
from proxy.ledger.writer import LedgerWriter, Limits, refuse_folder
from proxy.telemetry import Metrics

STANDARD_OUTPUT: Final = Path("-")
LOOK_SECONDS: Final = 0.01
"""Under load it is not with every write that the file is looked for under its name."""
_MEGABYTE: Final = 1024 * 1024


def open_ledger(options: LedgerOptions, metrics: Metrics, part: str = "") -> Journal:
    """Open a ledger to be written.

    Args:
        options: where it is, and who vouches for it.
        metrics: counted are lines, failures and deliveries.
        part: the ledger of one worker of this gateway: a folder below, signed under a name of its own.

    Raises:
        UsageError: it cannot be written, it is not as it was written, or a witness knows better.
    """
    key, folder = read_signing_key(options.ledger_key), options.ledger_folder / part
    signed_part = join_name(options.ledger_part, part)
    if signed_part:
        key = key.of_part(signed_part)
    to_output = options.ledger == STANDARD_OUTPUT
    if to_output and (options.ledger_witness or options.ledger_keep_days or options.ledger_durability == "synced"):
        raise UsageError(
            "A ledger on standard output begins anew at each start and is on no disk of ours: --ledger-witness, "
            "--ledger-durability synced and SEKISHO_LEDGER_KEEP_DAYS go with a folder."
        )
    places: list[Witness] = [make_witness(place, options.ledger) for place in options.ledger_witness]
    sink: Path | Sink = Stream(StandardOutput.take()) if to_output else folder
    limits = Limits(
        segment_bytes=options.ledger_segment_megabytes * _MEGABYTE,
        checkpoint_lines=options.ledger_checkpoint_lines,
        checkpoint_seconds=options.ledger_checkpoint_seconds,
        keep_days=options.ledger_keep_days,
        look_seconds=LOOK_SECONDS,
    )
    writer = LedgerWriter(sink, metrics, key, limits)
    try:
        _ask_witnesses(places, writer, folder, key)
    except BaseException:
        writer.close()
        raise
    witnesses = Witnesses(places, metrics) if places else None
    return Journal(writer, synced=options.ledger_durability == "synced", witnesses=witnesses)


@contextlib.contextmanager
def hold_folder(path: Path) -> Iterator[None]:
    """Hold the folder below which workers write their ledgers, so that no other gateway writes in it.

    Raises:
        UsageError: somebody does, or it cannot be made.
    """
    try:
        folder = Folder(path)
    except OSError as error:
        raise refuse_folder(path, error) from error
    try:
        yield
    finally:
        folder.close()


def _ask_witnesses(places: list[Witness], writer: LedgerWriter, folder: Path, key: SigningKey) -> None:
    """Hold the ledger against what witnesses keep of it, where they can be asked."""
    for place in places:
        latest = place.latest(key.name, [key.verifier]) if isinstance(place, FolderWitness) else None
        if latest is not None:
            check_against(
                latest,
                place.name,
                ledger=folder,
                size=writer.size,
                root=writer.root,
                root_at=lambda size: root_at(list_segments(folder), size),
            )
