# SPDX-License-Identifier: Apache-2.0
"""The register ``clients``: the programs through which people read, and the services that read by themselves.

Internal tools are the hole: in 2021 a console for law enforcement and a monitoring platform read for whoever used
them. A program ties its users to the affiliate that runs it, and a service has an unknown person behind it unless
it is registered as autonomous, by somebody who says why.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from proxy.caller.people import People
from proxy.model.entry import Date, Entry, Flag, Id, Text
from proxy.model.problem import Problem, nearest


class ClientEntry(Entry):
    """One program or service."""

    id: Id
    name: Text | None = None
    issuer: Id
    """The issuer whose tokens name it, or the authority whose certificates do."""
    client: Text
    """Its name there, to the letter: the claim mapped to ``client``, the ``sub`` of its own tokens, the SPIFFE id or
    DNS name of its certificate."""
    affiliate: Id
    """Whose people run it and can see what it sees."""
    autonomous: Flag = False
    """Whether it reads by itself, for no person. Needs ``reason`` and ``owner``."""
    reason: Text | None = None
    owner: Text | None = None
    review_by: Date | None = None


class Client(msgspec.Struct, frozen=True):
    """What is known of a program."""

    id: str
    affiliate: str
    autonomous: bool


class Clients(msgspec.Struct, frozen=True, dict=True):
    """The register, by who vouches for a program and what it is called there."""

    by_name: Mapping[tuple[str, str], Client]

    @functools.cached_property
    def vouchers(self) -> frozenset[str]:
        """The ids of those who vouch for some program."""
        return frozenset(issuer for issuer, _ in self.by_name)

    def find(self, issuer_id: str, name: object) -> Client | None:
        """Return the program of that name; None if there is none, or the name is no text."""
        return self.by_name.get((issuer_id, name)) if isinstance(name, str) else None


def check_clients(
    entries: Sequence[ClientEntry], vouchers: frozenset[str], affiliates: frozenset[str]
) -> list[Problem]:
    """Return what is wrong across registers.

    Args:
        entries: the entries that are sound by themselves.
        vouchers: the ids of issuers and of certificate authorities.
        affiliates: the ids of affiliates.
    """
    problems = []
    seen: dict[tuple[str, str], str] = {}
    for index, entry in enumerate(entries):
        problems += [
            Problem((index, key), f"no {what} {value!r}{nearest(value, known)}")
            for key, what, value, known in (
                ("issuer", "issuer", entry.issuer, vouchers),
                ("affiliate", "affiliate", entry.affiliate, affiliates),
            )
            if value not in known
        ]
        other = seen.setdefault((entry.issuer, entry.client), entry.id)
        if other != entry.id:
            problems.append(Problem((index, "client"), f"{entry.client!r} of {entry.issuer!r} is {other!r} already"))
        missing = [key for key in ("reason", "owner") if getattr(entry, key) is None]
        if entry.autonomous and missing:
            message = f"a service that reads for no person needs {' and '.join(missing)}"
            problems.append(Problem((index, "autonomous"), message, at_key=True))
    return problems


def check_namesakes(entries: Sequence[ClientEntry], people: People) -> list[Problem]:
    """Return what is wrong with programs that have the name of a person: nobody could tell who a token's subject is.

    Args:
        entries: the entries that are sound.
        people: the register of people, also of those whose engagements are over.
    """
    problems = []
    for index, entry in enumerate(entries):
        rows = people.find(entry.issuer, entry.client)
        if rows:
            message = f"{entry.client!r} of {entry.issuer!r} is a person in {rows[0].place}: it cannot be both"
            problems.append(Problem((index, "client"), message))
    return problems


def compile_clients(entries: Iterable[ClientEntry]) -> Clients:
    """Return the look-up. The entries have been checked."""
    return Clients(
        {(entry.issuer, entry.client): Client(entry.id, entry.affiliate, entry.autonomous) for entry in entries}
    )
