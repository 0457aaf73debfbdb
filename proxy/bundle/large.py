# SPDX-License-Identifier: Apache-2.0
"""Large registers: what the entries and tables of one become. This module does I/O.

Tables are read, and told of, only if there is no file yet that was made of the same tables, entries and ids: then
they have been found sound before.
"""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from proxy.bundle.gather import Item, Loaded, Registers
from proxy.bundle.store import Store, StoredRows, Writer, find_store, make_store
from proxy.bundle.tables import FILES, Sheet
from proxy.caller.people import (
    BACKWARDS,
    BETWEEN,
    COLUMNS,
    People,
    PeopleInRows,
    Row,
    check_people,
    compute_people,
    explain_overlap,
    make_columns,
    order_rows,
)
from proxy.model.problem import Problem

_NAME: Final = "people"
_KEY: Final = "subject"
_COLUMNS: Final = (_KEY, *(name for name in COLUMNS if name != _KEY))
"""The order of the cells of a row: its key, then the others as they come."""
_FROM: Final = _COLUMNS.index("from")
_UNTIL: Final = _COLUMNS.index("until")


class LargePeople:
    """The people register of one folder, on its way to a file.

    Args:
        registers: the folder, read.
        entries: the entries of the register.
        issuer_ids: the issuers that are declared.
        affiliate_ids: the affiliates that are declared.
        folder: where files lie; None: the default folder.
    """

    def __init__(
        self,
        registers: Registers,
        entries: Loaded,
        issuer_ids: Collection[str],
        affiliate_ids: Collection[str],
        folder: Path | None,
    ) -> None:
        self._registers = registers
        self._issuer_ids = issuer_ids
        self._affiliate_ids = affiliate_ids
        self._folder = folder
        self._tables = registers.tables[_NAME]
        self._entries = entries
        self._store: Store | None = None
        self._sheet: Sheet | None = None
        self._rows: list[Row] = []
        self._inputs = self._describe()

    def _describe(self) -> Mapping[str, Any]:
        return {
            "tables": [[table.name, table.digest] for table in self._tables],
            "entries": [[item.place, item.value] for item in self._entries.items],
            "issuers": sorted(self._issuer_ids),
            "affiliates": sorted(self._affiliate_ids),
        }

    def check(self) -> None:
        """Tell everything that is wrong."""
        loaded = self._entries
        self._registers.report(loaded, check_people(loaded.entries, self._issuer_ids, self._affiliate_ids))
        if not self._tables:
            self._check_entries()
            return
        if not self._registers.incomplete & {_NAME, "issuers", "affiliates"}:
            self._store = find_store(self._folder, self._inputs)
        if self._store is None:
            self._check_tables()

    def _check_entries(self) -> None:
        entries, items = self._entries.entries, self._entries.items
        rows: list[Row] = [(entry.subject, entry.issuer, index) for index, entry in enumerate(entries)]
        overlaps = order_rows(rows, lambda row: (entries[row[2]].since, entries[row[2]].end))
        pairs = [sorted((one[2], other[2])) for one, other in overlaps]
        problems = [Problem((row,), explain_overlap(items[first].place)) for first, row in pairs]
        self._registers.report(self._entries, problems)

    def _check_tables(self) -> None:
        sheet = self._sheet = Sheet(make_columns(self._issuer_ids, self._affiliate_ids), _KEY)
        for table in self._tables:
            sheet.add_csv(table.data, table.name)
        by_file: dict[str, list[tuple[int, list[str]]]] = {}
        for item in self._entries.items:
            line, _ = item.document.locate(item.path, at_key=False)
            by_file.setdefault(item.document.name, []).append((line, _cells(item)))
        for name, rows in by_file.items():
            sheet.add_rows(name, rows)
        since, until = (
            [math.nan if value is None else value for value in sheet.means(name)] for name in ("from", "until")
        )  # what means nothing is told by the sheet, and is neither before nor after anything
        begins, ends = sheet.codes["from"], sheet.codes["until"]
        backwards = {pair for pair in set(zip(begins, ends, strict=True)) if since[pair[0]] >= until[pair[1]]}
        if backwards:
            for place, *pair in zip(sheet.places, begins, ends, strict=True):
                if tuple(pair) in backwards and place % FILES < len(self._tables):
                    sheet.fail(place, BACKWARDS)
        self._rows = sheet.rows()
        for one, other in order_rows(self._rows, lambda row: (since[row[_FROM]], until[row[_UNTIL]])):
            first, last = sorted((one[-1], other[-1]))
            if one[0]:
                sheet.fail(last, explain_overlap(sheet.locate(first)))
        self._registers.problems += sheet.finish()

    def make(self) -> People:
        """Return the register. Nothing is wrong with it."""
        if not self._tables:
            return compute_people(self._entries.entries, [item.place for item in self._entries.items])
        if self._store is None:
            self._store = make_store(self._folder, self._inputs, self._fill)
            self._sheet, self._rows = None, []
        return PeopleInRows(StoredRows(self._store, _NAME))

    def _fill(self, writer: Writer) -> None:
        if self._sheet is None:
            raise ValueError("the tables have not been read")
        words = {name: self._sheet.texts(name) for name in self._sheet.codes}
        writer.add_rows(_NAME, self._rows, words, self._sheet.files)


def _cells(item: Item) -> list[str]:
    """Return an entry as the row of a table."""
    value: Mapping[str, Any] = item.value if isinstance(item.value, dict) else {}
    found = [value.get(name, "") for name in COLUMNS]
    return [BETWEEN.join(map(str, each)) if isinstance(each, list) else str(each) for each in found]
