# SPDX-License-Identifier: Apache-2.0
"""The register of affiliates where it is kept in files: written in one go, and read one affiliate at a time.

One file holds the rows, and is named by what they were read from; one more for each epoch holds what was computed of
them, and is named by the first and by the rules. What is the same for many is kept once, as a piece: rows name it by
its number.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, overload

import msgspec

from proxy.bundle.store import Store, StoredMapping, StoredTable, Writer
from proxy.caller.register import (
    Affiliation,
    Epoch,
    Member,
    Party,
    Piece,
    Register,
    find_boundaries,
    join_pieces,
)

MAX_KEPT: Final = 1024
"""Affiliates that one process keeps."""
CHUNK: Final = 1000
"""Parties that are kept together: they are read all or not at all."""
_ONLY: Final = ""
"""The key of the one value of a mapping."""
_PREFIX: Final = "affiliates "


# The rows


def write_rows(writer: Writer, parties: Sequence[Party], places: Iterable[str]) -> None:
    """Write the rows of the register.

    Args:
        writer: the new file.
        parties: the rows.
        places: where each stands, ``file:line``.
    """
    writer.add_blocks("entities", sorted(zip([party.id for party in parties], places, strict=True)))
    chunks = range(0, len(parties), CHUNK)
    writer.add_mapping("parties", [(f"{start:09}", parties[start : start + CHUNK]) for start in chunks])
    writer.add_mapping("boundaries", [(_ONLY, find_boundaries(parties))])


def read_boundaries(store: Store) -> list[float]:
    """Return every instant at which the register changes."""
    return StoredMapping(store, "boundaries", list[float])[_ONLY]


class StoredParties(Sequence[Party]):
    """The rows, for those who draw them.

    Args:
        store: the file of rows.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._decode = msgspec.msgpack.Decoder(list[Party]).decode

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredParties, (self._store,)

    def __iter__(self) -> Iterator[Party]:
        for key in StoredMapping(self._store, "parties", list[Party]):
            ((chunk,),) = self._store.query("SELECT value FROM parties_items WHERE key = ?", (key,))
            yield from self._decode(chunk)

    def __len__(self) -> int:
        return self._store.counts["entities_rows"]

    @overload
    def __getitem__(self, index: int) -> Party: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Party]: ...
    def __getitem__(self, index: int | slice) -> Party | Sequence[Party]:
        return list(self)[index]


class StoredIds(AbstractSet[str]):
    """The ids of all affiliates.

    Args:
        store: the file of rows.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._table = StoredTable(store, "entities")

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredIds, (self._store,)

    def __contains__(self, id_: object) -> bool:
        return isinstance(id_, str) and id_ in self._table

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


class StoredPlaces(Mapping[str, str]):
    """Where everything stands: the affiliates in the file, all else in memory.

    Args:
        others: ``register id`` to ``file:line``.
        store: the file of rows.
    """

    def __init__(self, others: Mapping[str, str], store: Store) -> None:
        self._others = others
        self._store = store
        self._table = StoredTable(store, "entities")

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredPlaces, (self._others, self._store)

    def __getitem__(self, key: str) -> str:
        if key.startswith(_PREFIX) and key not in self._others:
            (place,) = self._table[key.removeprefix(_PREFIX)]
            return str(place)
        return self._others[key]

    def __iter__(self) -> Iterator[str]:
        yield from self._others
        yield from (f"{_PREFIX}{id_}" for id_ in self._table if f"{_PREFIX}{id_}" not in self._others)

    def __len__(self) -> int:
        return sum(1 for _ in self)


# What is computed of them


def write_epoch(writer: Writer, epoch: Epoch, notes: Sequence[str]) -> None:
    """Write what was computed for one epoch.

    Args:
        writer: the new file.
        epoch: the epoch.
        notes: what a reader should know of the register at that time.
    """
    writer.add_blocks("affiliations", sorted(map(msgspec.structs.astuple, epoch.members)))
    writer.add_mapping("pieces", [(_name(number), piece) for number, piece in enumerate(epoch.pieces)])
    writer.add_mapping("frame", [(_ONLY, epoch.frame)])
    writer.add_mapping("notes", [(_ONLY, notes)])


def _name(number: int) -> str:
    return f"{number:09}"


def read_epoch(store: Store) -> Register:
    """Return the register of the epoch that a file holds."""
    frame = StoredMapping(store, "frame", Register)[_ONLY]
    return msgspec.structs.replace(frame, by_id=StoredAffiliations(store, frame))


def read_notes(store: Store) -> tuple[str, ...]:
    """Return what a reader should know of the register during the epoch that a file holds."""
    return StoredMapping(store, "notes", tuple[str, ...])[_ONLY]


class StoredAffiliations(Mapping[str, Affiliation]):
    """What working for each affiliate means, put together when it is asked for.

    Args:
        store: the file of the epoch.
        frame: the register.
    """

    def __init__(self, store: Store, frame: Register) -> None:
        self._store = store
        self._frame = frame
        self._rows = StoredTable(store, "affiliations")
        self._pieces: StoredMapping[Piece] = StoredMapping(store, "pieces", Piece)
        self._kept: dict[str, Affiliation] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredAffiliations, (self._store, self._frame)

    def __getitem__(self, id_: str) -> Affiliation:
        kept = self._kept.get(id_)
        if kept is not None:
            return kept
        member = Member(id_, *self._rows[id_])
        found = join_pieces(member, [self._piece(number) for number in member.pieces], self._frame)
        if len(self._kept) >= MAX_KEPT:
            for oldest in list(self._kept)[: MAX_KEPT // 8]:
                del self._kept[oldest]
        self._kept[id_] = found
        return found

    def _piece(self, number: int) -> Piece:
        try:
            return self._pieces[_name(number)]
        except KeyError as error:
            raise ValueError("the file names a piece that it does not hold") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
