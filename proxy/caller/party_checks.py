# SPDX-License-Identifier: Apache-2.0
"""What the rows of the register of affiliates may not say, whether they stand in YAML or in tables.

- Owners, principals and subcontractors are rows of the register; nobody owns itself or works for itself.
- Contracts may not go round in a circle, not even at different times; ownership may, and does.
- A list of owners that says it is complete comes to 100 per cent at every time, so that an owner cannot go missing,
  or lapse, unseen.

The path of a problem begins with the number of the party, and goes on as an entry is written: ``owners``, the number
of the stake, ``id``.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from proxy.caller.holdings import COUNTED, STATE, WHOLE, ZERO, Holding
from proxy.caller.register import Contract, Party, Stake
from proxy.model.problem import Problem, nearest


def check_parties(
    parties: Sequence[Party], ids: Collection[str], unsound: Collection[int] = frozenset()
) -> Iterator[Problem]:
    """Yield what is wrong across parties.

    Args:
        parties: the rows that are sound by themselves.
        ids: every id that is written in the register.
        unsound: the numbers of parties with which something else is wrong: their shares are not added up.
    """
    plain = _Plain(ids)
    for index, party in enumerate(parties):
        if plain.is_sound(party):
            continue
        if party.owners or party.works_for:
            yield from (problem.under(index) for problem in _find_dangling(party, ids))
        wrong = [*_check_own(party)]
        yield from (problem.under(index) for problem in wrong)
        if party.owners is not None and not wrong and index not in unsound:
            yield from (problem.under(index) for problem in _check_shares(party))
    yield from _check_subcontractors(parties, ids)
    yield from _check_circles(parties)


class _Plain:
    """Says of most parties at once that nothing is wrong with them: no dates but their own, whole shares.

    Args:
        ids: every id that is written in the register.
    """

    def __init__(self, ids: Collection[str]) -> None:
        self._ids = ids
        self._owners: dict[int, tuple[frozenset[str], Decimal, Decimal] | None] = {}

    def is_sound(self, party: Party) -> bool:
        """Say whether a party is sound. One that is not said to be may be, too."""
        if party.until <= party.since or (party.dispersed is not None and not party.complete):
            return False
        for contract in party.works_for or ():
            if contract.since != -math.inf or contract.until != math.inf or contract.principal == party.id:
                return False
            if contract.principal not in self._ids:
                return False
        if not party.owners:
            return not party.complete or party.owners is None or party.dispersed == WHOLE
        key = id(party.owners)
        found = self._owners[key] if key in self._owners else self._add_up(party.owners)
        if found is None or party.id in found[0]:
            return False
        dispersed = party.dispersed or ZERO
        return found[1] + dispersed <= WHOLE and (not party.complete or found[2] + dispersed >= WHOLE)

    def _add_up(self, stakes: tuple[Stake, ...]) -> tuple[frozenset[str], Decimal, Decimal] | None:
        """Return the owners, and how much they hold at least and at most; None: that takes a closer look."""
        owners, low, high = [], ZERO, ZERO
        for stake in stakes:
            holding = stake.holding
            owners.append(holding.owner)
            low += holding.low
            high += holding.high
            is_plain = stake.since == -math.inf and stake.until == math.inf and not holding.interest
            is_there = holding.owner in self._ids or holding.owner.startswith(STATE)
            if not is_plain or not is_there or holding.indirect or holding.high < holding.low:
                self._owners[id(stakes)] = None
                return None
        several = frozenset(owners)
        found = (several, low, high) if len(several) == len(owners) else None
        self._owners[id(stakes)] = found
        return found


def _find_dangling(party: Party, ids: Collection[str]) -> Iterator[Problem]:
    for place, stake in enumerate(party.owners or ()):
        owner = stake.holding.owner
        if owner not in ids and not owner.startswith(STATE):
            yield Problem(("owners", place, "id"), f"no affiliate {owner!r}{nearest(owner, ids)}")
    for place, contract in enumerate(party.works_for or ()):
        if contract.principal not in ids:
            hint = nearest(contract.principal, ids)
            yield Problem(("works_for", place), f"no affiliate {contract.principal!r}{hint}")


def _check_own(party: Party) -> Iterator[Problem]:
    """Yield what is wrong with a party whatever the others are."""
    yield from _check_dates(party)
    for place, stake in enumerate(party.owners or ()):
        yield from (problem.under("owners", place) for problem in _check_dates(stake))
        if stake.holding.high < stake.holding.low:
            yield Problem(("owners", place, "max"), f"it is less than `min`, {stake.holding.low}")
        if stake.holding.owner == party.id:
            yield Problem(("owners",), f"{party.id!r} cannot own itself")
    if party.dispersed is not None and not party.complete:
        message = "`dispersed` goes with `owners_complete: true`: else what is not listed may be anyone's all the same"
        yield Problem(("dispersed",), message, at_key=True)
    for place, contract in enumerate(party.works_for or ()):
        yield from (problem.under("works_for", place) for problem in _check_dates(contract))
        if contract.principal == party.id:
            yield Problem(("works_for",), f"{party.id!r} cannot work for itself")


def _check_dates(dated: Party | Stake | Contract) -> list[Problem]:
    return [Problem(("until",), "it ends before it begins")] if dated.until <= dated.since else []


def _check_shares(party: Party) -> list[Problem]:
    """Report what the shares come to, at every time at which they are others: the first thing that is wrong."""
    owners = party.owners or ()
    if len(owners) == 1 and not party.complete:
        return []
    starts = {each.since for each in owners} | {each.until for each in owners} | {party.since}
    for at in sorted(start for start in starts if party.since <= start < party.until):
        live = [stake.holding for stake in owners if stake.since <= at < stake.until]
        named = sorted({holding.interest for holding in live} - {""})
        for interest in (*named, *(each for each in COUNTED if each not in named)) if named else ("",):
            holdings = [each for each in live if each.interest in {"", interest}]
            wrong = _check_whole(party, holdings, f" of {interest}" if interest else "")
            if wrong:
                when = "" if math.isinf(at) else f"from {datetime.fromtimestamp(at, UTC).isoformat()} on, "
                return [Problem(("owners",), when + wrong)]
    return []


def _check_whole(party: Party, holdings: Sequence[Holding], of: str) -> str:
    """Return what is wrong with the holdings that count together at one time; empty if nothing is."""
    owners = {(holding.owner, holding.indirect) for holding in holdings}
    if len(owners) != len(holdings):
        return "an owner stands twice: add its shares up"
    direct = [holding for holding in holdings if not holding.indirect]
    dispersed = party.dispersed or ZERO
    least = sum([holding.low for holding in direct], dispersed)
    most = sum([holding.high for holding in direct], dispersed)
    if least > WHOLE:
        return f"the shares{of} add up to {least} per cent, more than 100"
    if party.complete and most < WHOLE:
        return (
            f"the list is complete and adds up to {most} per cent{of}: say who holds the rest, "
            f"or `dispersed: {WHOLE - most + dispersed}` if it is many of whom none matters"
        )
    return ""


def _check_subcontractors(parties: Sequence[Party], ids: Collection[str]) -> list[Problem]:
    if all(party.subcontractors is None for party in parties):
        return []
    handed_on: dict[str, set[str]] = {}
    for party in parties:
        for contract in party.works_for or ():
            handed_on.setdefault(contract.principal, set()).add(party.id)
    problems = []
    for index, party in enumerate(parties):
        if party.subcontractors is None:
            continue
        working = handed_on.get(party.id, set())
        problems += [
            Problem((index, "subcontractors"), f"{other!r} says that it works for this one, and is missing here")
            for other in sorted(working - set(party.subcontractors))
        ]
        for place, other in enumerate(party.subcontractors):
            where = (index, "subcontractors", place)
            if other not in ids:
                problems.append(Problem(where, f"no affiliate {other!r}{nearest(other, ids)}"))
            elif other not in working and len(parties) == len(ids):
                problems.append(Problem(where, f"{other!r} does not say that it works for this one"))
    return problems


def _check_circles(parties: Sequence[Party]) -> list[Problem]:
    """Report each circle of contracts once, at the party that comes first."""
    principals = {party.id: tuple(each.principal for each in party.works_for) for party in parties if party.works_for}
    problems = []
    settled: set[str] = set()
    places: dict[str, int] = {}
    for id_ in principals:
        circle = _find_circle(id_, principals, settled)
        if circle:
            places = places or {party.id: index for index, party in enumerate(parties)}
            first = min(circle, key=lambda id_: places.get(id_, 0))
            path = " → ".join((*circle, circle[0]))
            problems.append(Problem((places.get(first, 0), "works_for"), f"contracts go round in a circle: {path}"))
    return problems


def _find_circle(start: str, edges: Mapping[str, tuple[str, ...]], settled: set[str]) -> list[str]:
    """Return a circle that is reached from here, without recursion: contracts may chain for thousands of rows."""
    path: list[str] = []
    on_path: set[str] = set()
    stack = [(start, 0)]
    while stack:
        id_, place = stack.pop()
        if place == 0:
            if id_ in settled:
                continue
            path.append(id_)
            on_path.add(id_)
        following = edges.get(id_, ())
        if place == len(following):
            settled.add(path.pop())
            on_path.discard(id_)
            continue
        stack.append((id_, place + 1))
        if following[place] == id_:  # told of the entry itself
            continue
        if following[place] in on_path:
            settled |= on_path
            return path[path.index(following[place]) :]
        stack.append((following[place], 0))
    return []
