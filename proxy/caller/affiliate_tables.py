# SPDX-License-Identifier: Apache-2.0
"""The register of affiliates as tables: entities, one a row, and holdings, one a row. They mean what entries mean.

- An empty cell says nothing. That a list is empty, and known to be, is written: ``-``.
- Several ids or roles of one cell stand between semicolons.
- Whom an entity's owners are is what the holdings say. One whose owners are complete has holdings, or dispersed ones,
  that come to 100 per cent: so a row of holdings cannot go missing unseen.
- Where a row of holdings was found (``source``, ``retrieved_at``) may be told, and is for its reader alone.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from proxy.caller.affiliates import ROLES
from proxy.caller.holdings import INTERESTS, STATE, WHOLE, ZERO, Holding
from proxy.caller.register import Contract, Party, Stake
from proxy.model.country import NAMES, refuse_country
from proxy.model.entry import parse_flag, parse_id, parse_instant, parse_share
from proxy.model.facts import UNKNOWN
from proxy.model.problem import nearest
from proxy.model.table import Column

BETWEEN: Final = ";"
NOBODY: Final = "-"
"""A list that is known to be empty."""
_SHOWN: Final = 80
"""Characters of a cell that are told."""
_MAX_NAME: Final = 2000


def _read(parse: Callable[[str], Any]) -> tuple[Callable[[str], Any], Callable[[str], str]]:
    """Return the law of a text that a function reads, or refuses in a sentence."""

    def take(text: str) -> Any:
        try:
            return parse(text)
        except ValueError:
            return None

    def explain(text: str) -> str:
        try:
            parse(text[:_SHOWN])
        except ValueError as error:
            return str(error)
        return f"{text[:_SHOWN]!r}... is too long"

    return take, explain


def _parse_country(text: str) -> str:
    if text not in NAMES:
        raise ValueError(refuse_country(text))
    return text


def _parse_name(text: str) -> str:
    if not text.strip() or len(text) > _MAX_NAME:
        raise ValueError("the name is blank, or too long")
    return text


def _parse_ids(text: str) -> tuple[str, ...]:
    if text == NOBODY:
        return ()
    members = text.split(BETWEEN)
    if len(set(members)) != len(members):
        raise ValueError("an id stands twice")
    return tuple(map(parse_id, members))


def _parse_contracts(text: str) -> tuple[Contract, ...]:
    return tuple(map(Contract, _parse_ids(text)))


def _choose(text: str, allowed: Sequence[str]) -> str:
    if text not in allowed:
        raise ValueError(f"{text!r} is not one of the words for it{nearest(text, allowed)}")
    return text


def _parse_roles(text: str) -> frozenset[str]:
    return frozenset(_choose(each, ROLES) for each in text.split(BETWEEN))


def _parse_seconds(text: str) -> float:
    return parse_instant(text).timestamp()


ENTITIES: Final = (
    Column("id", *_read(parse_id), empty=None),
    Column("name", *_read(_parse_name), empty=""),
    Column("country", *_read(_parse_country), empty=None),
    Column("home", *_read(parse_flag), empty=False),
    Column("roles", *_read(_parse_roles), empty=frozenset()),
    Column("owners_complete", *_read(parse_flag), empty=False),
    Column("dispersed", *_read(parse_share), empty=UNKNOWN),
    Column("works_for", *_read(_parse_contracts), empty=UNKNOWN),
    Column("subcontractors", *_read(_parse_ids), empty=UNKNOWN),
    Column("shares_accounts", *_read(parse_flag), empty=False),
    Column("from", *_read(_parse_seconds), empty=-math.inf),
    Column("until", *_read(_parse_seconds), empty=math.inf),
)
"""The columns of a table of entities."""
OF_ENTITIES: Final = tuple(column.name for column in ENTITIES)


def columns_of_holdings(ids: Collection[str]) -> tuple[Column, ...]:
    """Return the columns of a table of holdings.

    Args:
        ids: the affiliates that are declared.
    """

    def take_owned(text: str) -> str | None:
        return text if text in ids else None

    def explain_owned(text: str) -> str:
        return f"no affiliate {text[:_SHOWN]!r}{nearest(text[:_SHOWN], ids)}"

    def take_owner(text: str) -> str | None:
        if text.startswith(STATE):
            return text if text.removeprefix(STATE) in NAMES else None
        return take_owned(text)

    def explain_owner(text: str) -> str:
        if text.startswith(STATE):
            return refuse_country(text.removeprefix(STATE)[:_SHOWN])
        return explain_owned(text)

    return (
        Column("owner", take_owner, explain_owner, empty=None),
        Column("owned", take_owned, explain_owned, empty=None),
        Column("interest", *_read(lambda text: _choose(text, INTERESTS)), empty=""),
        Column("share", *_read(parse_share), empty=UNKNOWN),
        Column("share_min", *_read(parse_share), empty=UNKNOWN),
        Column("share_max", *_read(parse_share), empty=UNKNOWN),
        Column("indirect", *_read(parse_flag), empty=False),
        Column("from", *_read(_parse_seconds), empty=-math.inf),
        Column("until", *_read(_parse_seconds), empty=math.inf),
        Column("source", *_read(str), empty="", optional=True),
        Column("retrieved_at", *_read(str), empty="", optional=True),
    )


OF_HOLDINGS: Final = tuple(column.name for column in columns_of_holdings(()) if not column.optional)


def _or_none(value: Any) -> Any:
    return None if value is UNKNOWN else value


def make_stake(cells: Sequence[Any]) -> Stake | str:
    """Return what a row of holdings says, or what is wrong with it.

    Args:
        cells: what its cells mean, in the order of ``OF_HOLDINGS``, without whom it is of.
    """
    owner, interest, share, least, most, indirect, since, until = cells
    exact: Decimal | None = _or_none(share)
    low: Decimal | None = _or_none(least)
    high: Decimal | None = _or_none(most)
    if (exact is None) == (low is None and high is None):
        return "write `share`, or `share_min` and `share_max` where it is not known exactly"
    holding = Holding(owner, exact or low or ZERO, exact or high or WHOLE, interest, indirect)
    return Stake(holding, since, until)


def make_parties(
    ids: Sequence[str], cells: Sequence[Iterable[Any]], owners: Mapping[str, tuple[Stake, ...]]
) -> list[Party]:
    """Return the rows of entities, typed.

    Args:
        ids: the ids.
        cells: what the cells of each other column mean, in the order of ``OF_ENTITIES``.
        owners: who holds what of whom.
    """
    nobody: tuple[Stake, ...] = ()
    return [
        Party(id_, name or id_, country, home, roles, owners.get(id_, nobody), *others)
        for id_, name, country, home, roles, *others in zip(ids, *cells, strict=True)
    ]


def settle_meaning(value: Any, assumed: Any) -> Any:
    """Return what a cell's meaning is to a party: none where it is not written; of a wrong cell, something to go on."""
    return assumed if value is None else _or_none(value)
