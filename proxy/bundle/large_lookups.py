# SPDX-License-Identifier: Apache-2.0
"""The register ``lookups`` of a folder: checked, with its tables as files that all workers read. This module does I/O.

A table is read column by column and becomes a file of ``store``: a million ids take no memory of a process that serves,
and a look-up reads one block. It is read, and told of, only if there is no file yet that was made of the same bytes.
"""

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from proxy.bundle.gather import Loaded, Registers, Table
from proxy.bundle.store import Store, StoredTable, Writer, find_store, make_store
from proxy.bundle.tables import Sheet
from proxy.model.country import CountryForm
from proxy.model.problem import Path as ProblemPath
from proxy.model.problem import Problem, nearest
from proxy.subject.lookups import LookupEntry, check_lookups, compile_lookup, make_columns
from proxy.subject.register import Lookup
from proxy.subject.register import Table as HeldTable
from proxy.subject.told import BETWEEN

_NAME: Final = "lookups"
_ROWS: Final = "countries"
"""What the rows are called inside of a file."""


class LargeLookups:
    """The register of one folder, on its way to files.

    Args:
        registers: the folder, read.
        loaded: the entries of the register.
        folder: where files lie; None: the default folder.
    """

    def __init__(self, registers: Registers, loaded: Loaded, folder: Path | None) -> None:
        self._registers = registers
        self._folder = folder
        self._loaded = loaded
        self._tables = {table.name: table for table in registers.tables[_NAME]}
        self._stores: dict[str, Store] = {}
        """By the id of their lookup."""
        self._sheets: dict[str, Sheet] = {}
        self._used: set[str] = set()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know although it is no problem."""
        return tuple(
            f"lookup {entry.id} is not used: no route's subject names it"
            for entry in self._loaded.entries
            if entry.id not in self._used
        )

    def check(self) -> None:
        """Tell everything that is wrong, also in the routes that name lookups."""
        registers, loaded = self._registers, self._loaded
        prefix = registers.name("")
        listed = [name.removeprefix(prefix).lstrip("/") for name in self._tables]
        registers.report(loaded, check_lookups(loaded.entries, listed))
        for entry in loaded.entries:
            table = self._find_table(entry)
            if table is not None:
                self._check_table(entry, table)
        self._refuse_unnamed()
        self._check_routes()

    def make(self) -> dict[str, Lookup]:
        """Return the register by id. Nothing is wrong with it."""
        return {
            entry.id: compile_lookup(entry) if entry.kind != "table" else self._make_table(entry)
            for entry in self._loaded.entries
        }

    def _find_table(self, entry: LookupEntry) -> Table | None:
        if entry.kind != "table" or entry.file is None:
            return None
        return self._tables.get(self._registers.name(entry.file))

    def _check_table(self, entry: LookupEntry, table: Table) -> None:
        store = find_store(self._folder, _describe(entry, table))
        if store is not None:
            self._stores[entry.id] = store
            return
        sheet = self._sheets[entry.id] = Sheet(make_columns(CountryForm(entry.format)), "id")
        sheet.add_csv(table.data, table.name)
        self._registers.problems += sheet.finish()

    def _refuse_unnamed(self) -> None:
        """Refuse tables that no lookup names: somebody believes that they say something."""
        document = self._registers.manifest_document
        named = {self._registers.name(entry.file) for entry in self._loaded.entries if entry.file is not None}
        if document is None or _NAME in self._registers.incomplete:
            return
        for file in document.value["files"]:
            if self._registers.name(file) in self._tables.keys() - named:
                message = "no lookup names this table: name it with `kind: table` and `file`, or take it out"
                self._registers.fail(document, Problem(("files", file), message, at_key=True))

    def _check_routes(self) -> None:
        ids = self._registers.declared_ids(_NAME)
        for item in self._registers.raw["apis"]:
            for path, name in _find_names(item.value):
                self._used.add(name)
                if name not in ids:
                    message = f"no lookup {name!r}{nearest(name, ids)}"
                    self._registers.fail(item.document, Problem((*item.path, *path), message))

    def _make_table(self, entry: LookupEntry) -> Lookup:
        table = self._find_table(entry)
        if table is None:
            raise ValueError("the table has not been checked")
        store = self._stores.get(entry.id)
        if store is None:
            sheet = self._sheets.pop(entry.id)
            store = make_store(self._folder, _describe(entry, table), lambda writer: _fill(writer, sheet))
        return HeldTable(StoredTable(store, _ROWS))


def _describe(entry: LookupEntry, table: Table) -> Mapping[str, Any]:
    """Return all that the content of a file depends on."""
    return {_NAME: table.digest, "format": entry.format}


def _fill(writer: Writer, sheet: Sheet) -> None:
    means = sheet.means("country")
    pairs = sorted(zip(sheet.keys, sheet.codes["country"], strict=True))
    rows = [
        (id_, BETWEEN.join(sorted({country for _, code in several for country in means[code]})))
        for id_, several in groupby(pairs, itemgetter(0))
    ]
    writer.add_blocks(_ROWS, rows)


def _find_names(api: Any) -> Iterator[tuple[ProblemPath, str]]:
    """Yield the lookups that an API's routes name, as they are written, and where."""
    routes = api.get("routes") if isinstance(api, dict) else None
    for index, route in enumerate(routes if isinstance(routes, list) else []):
        subject = route.get("subject") if isinstance(route, dict) else None
        name = subject.get("lookup") if isinstance(subject, dict) else None
        if isinstance(name, str):
            yield ("routes", index, "subject", "lookup"), name
