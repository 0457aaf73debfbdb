# SPDX-License-Identifier: Apache-2.0
"""Tells the countries of data subjects: from memory at once, else from what others said. This module does I/O.

It is both ``model.ports.Directory`` and ``model.ports.DirectorySource``. Another bundle's lookups take over one by one:
what is declared as before keeps its answers and its connections, all else begins with none.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias, assert_never

from proxy.errors import FetchError, UsageError
from proxy.model.problem import nearest
from proxy.model.subject import Located, LookupNeeded, Told
from proxy.subject.asking import Asking, Backend
from proxy.subject.http_directory import HttpDirectory
from proxy.subject.lookups import relocate
from proxy.subject.options import SubjectOptions
from proxy.subject.postgresql_directory import PostgresqlDirectory
from proxy.subject.register import (
    Asked,
    Countries,
    HttpQuestion,
    Lookup,
    PostgresqlQuery,
    Prefixes,
    Ranges,
    RedisKey,
    SqliteQuery,
    Table,
)
from proxy.subject.sqlite_directory import SqliteDirectory
from proxy.subject.told import FAILED, NOT_FOUND
from proxy.telemetry import Metrics

MAX_KNOWN: Final = 50_000
"""Rows of one table that one process keeps beside its file: some ten megabytes."""

log = logging.getLogger("sekisho.lookups")


class _Remembering:
    """A table in a file, with the rows of it that were asked for before: reading one costs twenty times as much.

    Args:
        table: the table.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._known: dict[str, Countries] = {}

    def find(self, id_: str) -> Countries:
        """Return the countries of an id."""
        found = self._known.get(id_)
        if found is None:
            found = self._table.find(id_)
            if found:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known[id_] = found
        return found


_Register: TypeAlias = Prefixes | Ranges | _Remembering | Asking


class HeldDirectory:
    """The lookups of the bundle in force.

    Args:
        lookups: by id.
        options: where this deployment finds them.
        metrics: counted are ids that others are asked for.

    Raises:
        UsageError: something that a lookup needs here is not there; the sentence names the lookup.
    """

    def __init__(self, lookups: Mapping[str, Lookup], options: SubjectOptions, metrics: Metrics) -> None:
        self._options = options
        self._metrics = metrics
        self._registers: Mapping[str, _Register] = {}
        """Replaced whenever it changes, and never changed itself."""
        self._retiring: set[asyncio.Future[None]] = set()
        self.adopt(lookups)

    def find(self, lookup: str, id_: str, now: float) -> Located | None:
        """Return what is known of an id now; None where somebody must be asked first.

        Args:
            lookup: the register; one that is not in force any more tells nothing.
            id_: of the subject.
            now: seconds since 1970.
        """
        register = self._registers.get(lookup)
        if isinstance(register, Asking):
            return register.find(id_, now)
        if register is None:
            return FAILED
        try:
            countries = register.find(id_)
        except Exception:  # a table that cannot be read tells nothing: that is no id without a country
            log.exception("table cannot be read", extra={"lookup": lookup})
            return FAILED
        return Located(Told.FOUND, countries) if countries else NOT_FOUND

    async def ask(self, needed: LookupNeeded) -> None:
        """Have ids found afterwards, as failures where nobody could tell; never raises.

        Where another bundle is put in force meanwhile, its lookup is asked, too.
        """
        register: _Register | None = None
        while register is not (register := self._registers.get(needed.lookup)):
            if isinstance(register, Asking):
                await register.ask(needed.ids)

    def adopt(self, lookups: Mapping[str, Lookup]) -> Callable[[], None]:
        """Take over the lookups of another bundle.

        Raises:
            UsageError: something that a lookup needs here is not there; then nothing has changed.

        Returns:
            What takes it back, should the bundle not be put in force after all.
        """
        _check_named(self._options, lookups)
        before = self._registers
        self._replace({id_: self._make(id_, lookup) for id_, lookup in lookups.items()})
        return lambda: self._replace(before)

    async def close(self) -> None:
        """End what is under way."""
        for register in self._registers.values():
            if isinstance(register, Asking):
                await register.close()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    def _replace(self, registers: Mapping[str, _Register]) -> None:
        """Put registers in force, and let those that are not any more end what they have under way."""
        before, self._registers = self._registers, registers
        for id_, register in before.items():
            if isinstance(register, Asking) and registers.get(id_) is not register:
                for gauge in (self._metrics.lookup_entries, self._metrics.lookup_down):
                    gauge.remove(id_)
                retiring = asyncio.ensure_future(self._retire(id_, register))
                self._retiring.add(retiring)
                retiring.add_done_callback(self._retiring.discard)
        for register in registers.values():
            if isinstance(register, Asking):
                register.show()

    async def _retire(self, id_: str, register: Asking) -> None:
        """Close what asks, once it has nothing under way, unless it was put in force again meanwhile."""
        await register.settle()
        if self._registers.get(id_) is not register:
            await register.close()

    def _make(self, id_: str, lookup: Lookup) -> _Register:
        if isinstance(lookup, Table):
            return _Remembering(lookup)
        if not isinstance(lookup, Asked):
            return lookup
        asked = self._relocate(lookup)
        held = self._registers.get(id_)
        try:
            backend = make_backend(asked, self._options.lookup_ca.get(id_))
            backend.check()  # also of one that is held: its secret may have gone
        except FetchError as error:
            raise UsageError(f"The lookup {id_!r} cannot be used: {error}.") from error
        if isinstance(held, Asking) and held.asked == asked:
            return held
        return Asking(asked, backend, self._metrics)

    def _relocate(self, asked: Asked) -> Asked:
        place = self._options.lookup.get(asked.id)
        if place is None:
            return asked
        try:
            return relocate(asked, place)
        except ValueError as error:
            raise UsageError(f"--lookup {asked.id}: {error}.") from error


def make_backend(asked: Asked, ca: Path | None) -> Backend:
    """Return what asks one directory; its library is loaded only where it is used."""
    how = asked.how
    match how:
        case HttpQuestion():
            return HttpDirectory(asked, how, ca)
        case RedisKey():
            from proxy.subject.redis_directory import RedisDirectory  # noqa: PLC0415 - its library is loaded where it is used

            return RedisDirectory(asked, how, ca)
        case SqliteQuery():
            return SqliteDirectory(asked, how)
        case PostgresqlQuery():
            return PostgresqlDirectory(asked, how, ca)
        case _:
            assert_never(how)


def _check_named(options: SubjectOptions, lookups: Mapping[str, Lookup]) -> None:
    """Refuse settings for lookups that nobody declares, or that are in memory.

    Raises:
        UsageError: that is so; the sentence names the setting.
    """
    for setting, said in (("--lookup", options.lookup), ("SEKISHO_LOOKUP_CA", options.lookup_ca)):
        for id_ in said:
            if id_ not in lookups:
                raise UsageError(
                    f"{setting} names a lookup {id_!r} that the bundle does not declare{nearest(id_, lookups)}."
                )
            if not isinstance(lookups[id_], Asked):
                raise UsageError(f"{setting} names {id_!r}, which the bundle itself holds: nobody is asked for it.")
