# SPDX-License-Identifier: Apache-2.0
"""Entities and who holds them, as control rules see them at one instant, and in which order to compute.

- A holding is exact or a range of per cent. One that names no interest is of every interest: of the shares and of
  the votes.
- An *indirect* holding is held through others. It counts like a direct one, but is not one of the parts that make up
  100 per cent: it says nothing of who holds the rest.
- A state holds under the id ``state:CN``, which no affiliate can have.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

INTERESTS: Final = (
    "shareholding", "votingRights", "appointmentOfBoard", "rightsToSurplusAssetsOnDissolution",
    "rightsToProfitOrIncome", "otherInfluenceOrControl",
)  # fmt: skip
"""What can be held of an entity, in the words of the Beneficial Ownership Data Standard 0.4."""
COUNTED: Final = ("shareholding", "votingRights")
"""The interests that a control rule counts unless it says otherwise."""
WHOLE: Final = Decimal(100)
ZERO: Final = Decimal(0)
STATE: Final = "state:"
MAX_PATH: Final = 16
"""Ids of a path that is told. One that is longer is told with its beginning and its end."""
LEFT_OUT: Final = "…"


class Holding(msgspec.Struct, frozen=True, array_like=True):
    """What one owner holds of an entity: between ``low`` and ``high`` per cent."""

    owner: str
    low: Decimal
    high: Decimal
    interest: str = ""
    """Empty: of every interest."""
    indirect: bool = False


class Entity(msgspec.Struct, frozen=True):
    """One entity, as the graph sees it."""

    country: str
    home: bool = False
    owners: tuple[Holding, ...] = ()
    complete: bool = False
    """Whether nobody else holds anything of it that matters."""
    dispersed: Decimal = ZERO
    """Per cent of a complete list in the hands of many of whom none matters."""


class Order(msgspec.Struct, frozen=True):
    """The order in which to look at what points at one another: whatever something needs comes before it."""

    parts: tuple[tuple[str, ...], ...]
    """One id, or several that reach one another in a circle."""
    dependants: Mapping[str, Sequence[str]]
    """Who needs an id, of those that somebody needs."""

    @property
    def circles(self) -> list[tuple[str, ...]]:
        """The parts that go round in a circle."""
        return [part for part in self.parts if len(part) > 1]


def exact(owner: str, share: Decimal | int | str, interest: str = "") -> Holding:
    """Return a holding of which the share is known."""
    return Holding(owner, Decimal(share), Decimal(share), interest)


def abridge(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return a path that is not longer than can be told; what is left out is left out of its middle."""
    if len(path) <= MAX_PATH:
        return path
    head = MAX_PATH // 2
    return (*path[: head - 1], LEFT_OUT, *path[head - MAX_PATH :])


def order_owners(entities: Mapping[str, Entity]) -> Order:
    """Return the order in which owners come before what they hold."""
    return make_order(
        {id_: [each.owner for each in entity.owners] if entity.owners else () for id_, entity in entities.items()}
    )


def make_order(needs: Mapping[str, Sequence[str]]) -> Order:
    """Return an order of all ids, each with what it needs before it; ids of a circle stand together.

    Most registers are trees: what is left after all that needs nothing any more has been taken is looked at by
    Tarjan's algorithm. Neither recurses: a chain may have a hundred thousand links.
    """
    dependants: dict[str, list[str]] = {}
    waiting: dict[str, int] = {}
    ready: list[str] = []
    for id_, needed in needs.items():
        if needed:
            waiting[id_] = len(needed)
            for other in needed:
                dependants.setdefault(other, []).append(id_)
        else:
            ready.append(id_)
    for id_ in ready:  # it grows
        for other in dependants.get(id_, ()):
            left = waiting[other] = waiting[other] - 1
            if not left:
                ready.append(other)
    parts: list[tuple[str, ...]] = [(id_,) for id_ in ready]
    if len(parts) < len(needs):
        circular = {id_ for id_, count in waiting.items() if count}
        parts += _find_components({id_: [each for each in needs[id_] if each in circular] for id_ in sorted(circular)})
    return Order(tuple(parts), dependants)


def _find_components(needs: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the strongly connected components, each after those that it needs (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    on_stack: set[str] = set()
    stack: list[str] = []
    found: list[tuple[str, ...]] = []
    for start in needs:
        if start in number:
            continue
        calls = [(start, iter(needs[start]))]
        number[start] = low[start] = len(number)
        stack.append(start)
        on_stack.add(start)
        while calls:
            id_, left = calls[-1]
            following = next(left, None)
            if following is None:
                calls.pop()
                if calls:
                    above = calls[-1][0]
                    low[above] = min(low[above], low[id_])
                if low[id_] == number[id_]:
                    place = stack.index(id_) if stack[-1] != id_ else len(stack) - 1
                    found.append(tuple(sorted(stack[place:])))
                    on_stack.difference_update(stack[place:])
                    del stack[place:]
            elif following not in number:
                number[following] = low[following] = len(number)
                stack.append(following)
                on_stack.add(following)
                calls.append((following, iter(needs[following])))
            elif following in on_stack:
                low[id_] = min(low[id_], number[following])
    return found
