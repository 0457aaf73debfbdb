# SPDX-License-Identifier: Apache-2.0
"""The register of affiliates: what its entries and tables become. This module does I/O.

Entries alone are computed in memory. With tables, the rows become one file, and what is computed of them another for
each epoch; tables are read, and told of, only if there is no file yet that was made of the same rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from proxy.bundle.cases import Declared
from proxy.bundle.gather import Loaded, Registers, Table
from proxy.bundle.notes import find_register_notes, tell_register_notes
from proxy.bundle.store import Store, StoredTable, Writer, find_store, make_store
from proxy.bundle.stored_affiliates import (
    StoredIds,
    StoredParties,
    StoredPlaces,
    read_boundaries,
    read_epoch,
    read_notes,
    write_epoch,
    write_rows,
)
from proxy.bundle.tables import MAX_TOLD, Sheet
from proxy.caller.affiliate_tables import (
    ENTITIES,
    OF_ENTITIES,
    OF_HOLDINGS,
    columns_of_holdings,
    make_parties,
    make_stake,
    settle_meaning,
)
from proxy.caller.affiliates import check_affiliates, check_entries, to_party
from proxy.caller.party_checks import check_parties
from proxy.caller.register import (
    Affiliates,
    ControlRule,
    Epoch,
    Party,
    Stake,
    choose_instants,
    compute_epoch,
    compute_epochs,
    find_epoch,
)
from proxy.model.caller import TieKind
from proxy.model.problem import Path as ProblemPath
from proxy.model.problem import Problem
from proxy.policy.attributes import Domain, Vocabulary

_NAME: Final = "affiliates"
_HOLDINGS: Final = "holdings"
_ASSUMED: Final[Mapping[str, Any]] = {"country": "JP"}
"""What is taken for a cell that means nothing, so that the rest can still be looked at."""
_COLUMN_OF: Final = {"id": "owner", "max": "share_max", "until": "until"}
"""The column of a row of holdings that the end of a problem's path speaks of."""


class Made(msgspec.Struct, frozen=True):
    """The register, ready for a snapshot."""

    affiliates: Affiliates
    parties: Sequence[Party]
    notes: tuple[str, ...]
    ids: AbstractSet[str] | None = None
    """All ids, where they are kept in a file."""
    store: Store | None = None
    """Of the rows."""

    def settle(self, vocabulary: Vocabulary, declared: Declared) -> tuple[Vocabulary, Declared]:
        """Return what a bundle declares, with the ids where they are kept."""
        if self.ids is None:
            return vocabulary, declared
        ids = {**vocabulary.ids, Domain.AFFILIATES: self.ids}
        return (
            msgspec.structs.replace(vocabulary, ids=ids),
            msgspec.structs.replace(declared, affiliates=self.ids),
        )

    def places(self, others: Mapping[str, str]) -> Mapping[str, str]:
        """Return where everything stands.

        Args:
            others: where all stands that is kept in memory.
        """
        return others if self.store is None else StoredPlaces(others, self.store)


class LargeAffiliates:
    """The register of affiliates of one folder, on its way to files.

    Args:
        registers: the folder, read.
        entries: the entries of the register.
        folder: where files lie; None: the default folder.
    """

    def __init__(self, registers: Registers, entries: Loaded, folder: Path | None) -> None:
        self._registers = registers
        self._entries = entries
        self._folder = folder
        self._tables = registers.tables[_NAME], registers.tables[_HOLDINGS]
        self._store: Store | None = None
        self._parties: list[Party] = []
        self._places: list[str] = []

    def check(self) -> None:
        """Tell everything that is wrong, and declare the ids."""
        registers, entries = self._registers, self._entries
        if not any(self._tables):
            registers.report(entries, check_affiliates(entries.entries, registers.declared_ids(_NAME)))
            return
        if not registers.incomplete & {_NAME, _HOLDINGS}:
            self._store = find_store(self._folder, self._describe())
        if self._store is None:
            reading = _Reading(registers, entries, self._tables)
            reading.check()
            self._parties, self._places = reading.parties, reading.places()
        else:
            registers.declare(_NAME, frozenset(StoredTable(self._store, "entities")))

    def _describe(self) -> Mapping[str, Any]:
        return {
            "register": _NAME,
            "tables": [[[table.name, table.digest] for table in tables] for tables in self._tables],
            "entries": [[item.place, item.value] for item in self._entries.items],
        }

    def make(
        self, rules: Sequence[ControlRule], counted: frozenset[TieKind], now: float, times: Sequence[float]
    ) -> Made:
        """Return the register. Nothing is wrong with it.

        Args:
            rules: the control rules.
            counted: the kinds of ties that the manifest counts.
            now: the instant for which the folder is loaded.
            times: other instants that are asked for: those of tests.
        """
        if not any(self._tables):
            parties = tuple(map(to_party, self._entries.entries))
            computed = compute_epochs(parties, rules, counted, now, times)
            return Made(computed, parties, find_register_notes(parties, now))
        store = self._store
        if store is None:
            store = make_store(
                self._folder, self._describe(), lambda writer: write_rows(writer, self._parties, self._places)
            )
        boundaries = read_boundaries(store)
        law = {"rules": msgspec.to_builtins(rules, order="deterministic"), "counted": sorted(counted)}
        stores: dict[float, Store] = {}
        for at in choose_instants(boundaries, now, times):
            inputs = {**law, "rows": store.digest, "epoch": list(map(repr, find_epoch(boundaries, at)))}
            found = find_store(self._folder, inputs)
            if found is None:
                self._parties = self._parties or list(StoredParties(store))
                epoch = compute_epoch(self._parties, rules, counted, at, boundaries)
                found = make_store(self._folder, inputs, partial(self._fill, epoch, at))
            stores[at] = found
        self._parties, self._places = [], []
        affiliates = Affiliates(tuple(map(read_epoch, stores.values())), now)
        return Made(affiliates, StoredParties(store), read_notes(stores[now]), StoredIds(store), store)

    def _fill(self, epoch: Epoch, at: float, writer: Writer) -> None:
        write_epoch(writer, epoch, tell_register_notes(self._parties, epoch, at))


class _Reading:
    """The tables, read, beside the entries."""

    def __init__(self, registers: Registers, entries: Loaded, tables: tuple[Sequence[Table], Sequence[Table]]) -> None:
        self._registers = registers
        self._loaded = entries
        self._entities = Sheet(ENTITIES, "id", strict=True)
        of_entities, of_holdings = tables
        for table in of_entities:
            self._entities.add_csv(table.data, table.name)
        if not self._entities.is_whole:
            registers.incomplete.add(_NAME)
        registers.declare(_NAME, frozenset(self._entities.keys))
        self._ids = registers.declared_ids(_NAME)
        self._holdings = Sheet(columns_of_holdings(self._ids), "owned", strict=True)
        for table in of_holdings:
            self._holdings.add_csv(table.data, table.name)
        if not self._holdings.is_whole:
            registers.incomplete.add(_HOLDINGS)
        self._unsound: set[str] = set()
        """Affiliates with whose holdings something is wrong."""
        self._held_in: dict[str, list[int]] | None = None
        self._stakes: dict[tuple[int, ...], tuple[Stake, ...]] = {}
        self.parties: list[Party] = []

    def places(self) -> list[str]:
        """Return where each party stands."""
        rows = self._entities
        return [*(item.place for item in self._loaded.items), *map(rows.locate, rows.places)]

    def check(self) -> None:
        """Make the parties, and tell everything that is wrong."""
        self._check_ids()
        held = self._take_holdings()
        self.parties = [*self._take_entries(held), *self._take_entities(held)]
        self._registers.report(self._loaded, check_entries(self._loaded.entries))
        found = list(islice(check_parties(self.parties, self._ids, self._find_unsound()), 2 * MAX_TOLD))
        for problem in found:
            self._tell(int(problem.path[0]), problem)
        self._registers.problems += [*self._entities.finish(), *self._holdings.finish()]

    def _check_ids(self) -> None:
        sheet = self._entities
        entries = {item.qualify(str(item.value["id"])): item.place for item in self._loaded.items}
        if len(set(sheet.keys)) == len(sheet.keys) and entries.keys().isdisjoint(sheet.keys):
            return
        seen = dict(entries)
        for id_, place in zip(sheet.keys, sheet.places, strict=True):
            if id_ in seen:
                sheet.fail(place, f"the id {id_!r} stands twice, first in {seen[id_]}", "id")
            else:
                seen[id_] = sheet.locate(place)

    def _take_holdings(self) -> dict[str, tuple[Stake, ...]]:
        """Return who holds what of each affiliate. Equal rows are one value, and so are sisters' owners."""
        sheet = self._holdings
        names = [name for name in OF_HOLDINGS if name != "owned"]
        means = [sheet.means(name) for name in names]
        wrong: dict[tuple[int, ...], str] = {}
        held: dict[str, tuple[Stake, ...]] = {}
        for row, (owned, key) in enumerate(self._rows_of_holdings(names)):
            stakes = self._stakes.get(key)
            if stakes is None and key not in wrong:
                values = [mean[code] for mean, code in zip(means, key, strict=True)]
                made = "" if None in values else make_stake(values)  # of a wrong cell the sheet tells
                if isinstance(made, str):
                    wrong[key] = made
                else:
                    stakes = self._stakes[key] = (made,)
            if stakes is not None:
                before = held.get(owned)
                held[owned] = stakes if before is None else before + stakes
                continue
            self._unsound.add(owned)
            if wrong[key]:
                sheet.fail(sheet.places[row], wrong[key], "share")
        return held

    def _rows_of_holdings(self, names: Sequence[str]) -> Iterator[tuple[str, tuple[int, ...]]]:
        sheet = self._holdings
        return zip(sheet.keys, zip(*(sheet.codes[name] for name in names), strict=True), strict=True)

    def _take_entries(self, held: Mapping[str, tuple[Stake, ...]]) -> Iterator[Party]:
        for entry, item in zip(self._loaded.entries, self._loaded.items, strict=True):
            party = to_party(entry)
            if party.id in held and (party.owners is not None or party.complete):
                message = f"the owners of {party.id!r} stand in {item.place}: write all of them here, or all there"
                self._fail_holding(party.id, 0, message, "owned")
            elif party.id in held:
                party = msgspec.structs.replace(party, owners=held[party.id])
            yield party

    def _take_entities(self, held: Mapping[str, tuple[Stake, ...]]) -> list[Party]:
        sheet = self._entities
        cells = []
        for column in ENTITIES[1:]:
            assumed = _ASSUMED.get(column.name, settle_meaning(column.empty, None))
            means = [settle_meaning(value, assumed) for value in sheet.means(column.name)]
            cells.append(map(means.__getitem__, sheet.codes[column.name]))
        return make_parties(sheet.keys, cells, held)

    def _find_unsound(self) -> set[int] | range:
        """Return the numbers of the parties whose shares are not added up."""
        if self._registers.incomplete & {_NAME, _HOLDINGS}:
            return range(len(self.parties))
        first = len(self._loaded.entries)
        found = {first + row for row in self._entities.wrong_rows()}
        found |= {int(problem.path[0]) for problem in check_entries(self._loaded.entries)}
        if self._unsound:
            found |= {index for index, party in enumerate(self.parties) if party.id in self._unsound}
        return found

    def _tell(self, index: int, problem: Problem) -> None:
        """Tell a problem of a party where it stands."""
        path: ProblemPath = problem.path[1:]
        rows = self._find_rows(self.parties[index].id) if path[:1] == ("owners",) else []
        first = len(self._loaded.entries)
        if rows:
            number = int(path[1]) if len(path) > 1 else len(rows) - 1
            column = _COLUMN_OF.get(str(path[2]), "owned") if len(path) > 2 else "owned"
            self._fail_holding(self.parties[index].id, number, problem.message, column)
        elif index < first:
            self._registers.report(self._loaded, [problem])
        else:
            column = str(path[0]) if path and path[0] in OF_ENTITIES else "owners_complete"
            self._entities.fail(self._entities.places[index - first], problem.message, column)

    def _fail_holding(self, owned: str, number: int, message: str, column: str) -> None:
        row = self._find_rows(owned)[number]
        self._holdings.fail(self._holdings.places[row], message, column)

    def _find_rows(self, owned: str) -> list[int]:
        """Return the rows of an affiliate's holdings, in the order of its stakes."""
        if self._held_in is None:
            self._held_in = {}
            names = [name for name in OF_HOLDINGS if name != "owned"]
            for row, (id_, key) in enumerate(self._rows_of_holdings(names)):
                if key in self._stakes:
                    self._held_in.setdefault(id_, []).append(row)
        return self._held_in.get(owned, [])
