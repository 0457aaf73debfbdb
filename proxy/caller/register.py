# SPDX-License-Identifier: Apache-2.0
"""The register of affiliates, computed: what working for each ties its people to, from one instant to the next.

- A row, a holding and a contract may have dates, and hold in [since, until). Between two such dates nothing changes:
  that is an *epoch*, and a register is computed for each that is needed. At a time for which none was, every affiliate
  is unknown.
- A holding that has ended is held by nobody who is known: its share is undisclosed. A row that has ended is no
  affiliate any more, and what it held is undisclosed, too.
- A request looks an affiliate up and nothing more.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from proxy.caller.contracts import Chains, follow
from proxy.caller.control import compute_control
from proxy.caller.covered_persons import Law, classify_entities
from proxy.caller.holdings import STATE, ZERO, Entity, Holding, Order, order_owners
from proxy.caller.ownership import Controlled, Rule
from proxy.model.caller import Control, Tie, TieKind
from proxy.model.facts import EMPTY_SET, NOT_APPLICABLE, Fact, FactSet

WATCHED: Final = Decimal(25)
"""Per cent of one owner that are told although they are no control: up to half."""
HALF: Final = Decimal(50)


class Stake(msgspec.Struct, frozen=True, array_like=True):
    """What an owner holds, and when."""

    holding: Holding
    since: float = -math.inf
    until: float = math.inf


class Contract(msgspec.Struct, frozen=True, array_like=True):
    """For whom an affiliate works, and when."""

    principal: str
    since: float = -math.inf
    until: float = math.inf


class Party(msgspec.Struct, frozen=True, array_like=True):
    """One row of the register, typed."""

    id: str
    name: str
    country: str
    home: bool = False
    roles: frozenset[str] = frozenset()
    owners: tuple[Stake, ...] | None = None
    """None: not written."""
    complete: bool = False
    dispersed: Decimal | None = None
    works_for: tuple[Contract, ...] | None = None
    subcontractors: tuple[str, ...] | None = None
    shares_accounts: bool = False
    since: float = -math.inf
    until: float = math.inf


class ControlRule(msgspec.Struct, frozen=True):
    """One control rule, compiled."""

    id: str
    rule: Rule
    default: bool = False
    law: Law | None = None
    """Of a rule with paragraphs."""


class Affiliation(msgspec.Struct, frozen=True):
    """What working for an affiliate means for a caller."""

    id: str
    name: str
    country: str
    roles: FactSet
    ties: tuple[Tie, ...]
    open_ties: frozenset[str]
    counted: frozenset[str]
    """Labels of ties that count for this affiliate's people without being named."""
    control: Mapping[str, Control]
    watch: tuple[Holding, ...] = ()
    """Owners of 25 per cent or more and less than half: they control nothing by themselves, and are to be watched."""


class Register(msgspec.Struct, frozen=True):
    """The register during one epoch."""

    by_id: Mapping[str, Affiliation]
    unknown_ties: frozenset[str]
    """Labels that are open for a caller whose affiliate is not known."""
    counted: frozenset[str]
    laws: Mapping[str, Law]
    """The control rules with paragraphs."""
    not_sharing: frozenset[str] = frozenset()
    """Labels of ties that count for the people of an affiliate that shares no accounts."""
    since: float = -math.inf
    until: float = math.inf

    @property
    def sharing(self) -> frozenset[str]:
        """Labels that count for the people of one whose subcontractors may use its people's accounts."""
        return self.not_sharing | {str(TieKind.SUBCONTRACTOR)}


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """A part of what working for an affiliate means, told without its name: sisters have the same."""

    ties: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """Label, country, and the path from the next entity on."""
    open_tie: str = ""
    """The label of the ties, where there may be more."""
    rule: str = ""
    """The control rule of which it tells, if it does."""
    control: Control | None = None
    watch: tuple[Holding, ...] = ()


class Member(msgspec.Struct, frozen=True, array_like=True):
    """An affiliate that is there during an epoch."""

    id: str
    name: str
    country: str
    roles: str
    """Between semicolons."""
    shares_accounts: bool
    pieces: tuple[int, ...]
    """Their numbers."""


def join_pieces(member: Member, pieces: Iterable[Piece], frame: "Register") -> Affiliation:
    """Return what working for an affiliate means.

    Args:
        member: the affiliate.
        pieces: those that it names.
        frame: the register.
    """
    own = (member.id,)
    ties = [Tie(TieKind.EMPLOYER.value, member.country, own)]
    open_ties = []
    control = {}
    watch: tuple[Holding, ...] = ()
    for piece in pieces:
        ties += [Tie(label, country, own + path) for label, country, path in piece.ties]
        if piece.open_tie:
            open_ties.append(piece.open_tie)
        if piece.control is not None:
            control[piece.rule] = piece.control
        watch = piece.watch or watch
    return Affiliation(
        id=member.id,
        name=member.name,
        country=member.country,
        roles=FactSet(frozenset(member.roles.split(";"))) if member.roles else EMPTY_SET,
        ties=tuple(ties),
        open_ties=frozenset(open_ties),
        counted=frame.sharing if member.shares_accounts else frame.not_sharing,
        control=control,
        watch=watch,
    )


class Epoch(msgspec.Struct, frozen=True):
    """One epoch, computed: who is there, and what of."""

    frame: Register
    """Without anybody in it."""
    members: Sequence[Member]
    pieces: Sequence[Piece]
    circles: Sequence[Sequence[str]]
    """Those who hold one another in a circle."""

    def register(self) -> Register:
        """Return the register, in memory."""
        pieces = self.pieces
        by_id = {
            member.id: join_pieces(member, [pieces[number] for number in member.pieces], self.frame)
            for member in self.members
        }
        return msgspec.structs.replace(self.frame, by_id=by_id)


class Affiliates(msgspec.Struct, frozen=True):
    """The register, computed for the epochs that are needed."""

    epochs: tuple[Register, ...]
    """By time. They need not join."""
    computed_at: float
    """The instant for which they were computed: it is in one of them, and the next one follows if there is any."""

    def at(self, now: float) -> Register:
        """Return the register of an instant; of one that is not covered, a register that knows nobody."""
        for register in self.epochs:
            if register.since <= now < register.until:
                return register
        first = self.epochs[0]
        until = min((each.since for each in self.epochs if each.since > now), default=math.inf)
        since = max((each.until for each in self.epochs if each.until <= now), default=-math.inf)
        return msgspec.structs.replace(first, by_id={}, since=since, until=until)

    @property
    def current(self) -> Register:
        """The register of the instant for which they were computed."""
        return self.at(self.computed_at)

    @property
    def renew_at(self) -> float:
        """When the last epoch begins that joins the current one: then there should be another."""
        last = self._last()
        return math.inf if math.isinf(last.until) else last.since

    @property
    def covered_until(self) -> float:
        """Until when the register is known without a gap."""
        return self._last().until

    def _last(self) -> Register:
        last = self.current
        for register in self.epochs:
            if register.since == last.until:
                last = register
        return last


def compute_epochs(
    parties: Sequence[Party],
    rules: Sequence[ControlRule],
    counted_kinds: frozenset[TieKind],
    now: float,
    times: Iterable[float] = (),
) -> Affiliates:
    """Compute the register for the epoch of an instant, the next one, and those of other instants.

    Args:
        parties: the rows, which have been checked.
        rules: the control rules.
        counted_kinds: the kinds of ties that the manifest counts.
        now: the instant.
        times: other instants that are asked for: those of tests.
    """
    boundaries = find_boundaries(parties)
    return Affiliates(
        tuple(
            compute_epoch(parties, rules, counted_kinds, at, boundaries).register()
            for at in choose_instants(boundaries, now, times)
        ),
        now,
    )


def choose_instants(boundaries: Sequence[float], now: float, times: Iterable[float] = ()) -> list[float]:
    """Return one instant of every epoch that is needed: that of an instant, the next one, and those of others."""
    since, until = find_epoch(boundaries, now)
    found = {since: now}
    for at in (*(() if math.isinf(until) else (until,)), *times):
        found.setdefault(find_epoch(boundaries, at)[0], at)
    return [found[since] for since in sorted(found)]


def find_boundaries(parties: Iterable[Party]) -> list[float]:
    """Return every instant at which the register changes."""
    found: set[float] = set()
    dated: dict[int, tuple[Stake | Contract, ...]] = {}
    for party in parties:
        found.add(party.since)
        found.add(party.until)
        for each in (party.owners, party.works_for):
            if each:
                dated[id(each)] = each
    for several in dated.values():
        for one in several:
            found.add(one.since)
            found.add(one.until)
    return sorted(found - {-math.inf, math.inf})


def compute_epoch(
    parties: Sequence[Party],
    rules: Sequence[ControlRule],
    counted_kinds: frozenset[TieKind],
    at: float,
    boundaries: Sequence[float] | None = None,
) -> Epoch:
    """Compute what is common to many affiliates, and whose it is, at one instant.

    Args:
        parties: the rows, which have been checked.
        rules: the control rules.
        counted_kinds: the kinds of ties that the manifest counts.
        at: the instant.
        boundaries: of ``find_boundaries``, where several epochs are computed of the same rows.
    """
    since, until = find_epoch(find_boundaries(parties) if boundaries is None else boundaries, at)
    counted = {kind.value for kind in counted_kinds if kind is not TieKind.CONTROL}
    if TieKind.CONTROL in counted_kinds:
        counted |= {f"{TieKind.CONTROL}.{rule.id}" for rule in rules if rule.default}
    alive = [party for party in parties if party.since <= at < party.until]
    computing = _Computing(alive, rules, at)
    unknown = {TieKind.EMPLOYER, TieKind.PRINCIPAL, *(f"{TieKind.CONTROL}.{rule.id}" for rule in rules)}
    shares = any(party.shares_accounts for party in parties)
    frame = Register(
        by_id={},
        unknown_ties=frozenset({*map(str, unknown), str(TieKind.SUBCONTRACTOR)}),
        counted=frozenset(counted | ({str(TieKind.SUBCONTRACTOR)} if shares else set())),
        laws={rule.id: rule.law for rule in rules if rule.law is not None},
        not_sharing=frozenset(counted),
        since=since,
        until=until,
    )
    return Epoch(frame, list(computing.members()), computing.pieces, computing.circles)


def find_epoch(boundaries: Iterable[float], at: float) -> tuple[float, float]:
    """Return between which two of the instants at which the register changes an instant is."""
    since, until = -math.inf, math.inf
    for each in boundaries:
        if each <= at:
            since = max(since, each)
        else:
            until = min(until, each)
    return since, until


def make_entities(parties: Iterable[Party], at: float) -> dict[str, Entity]:
    """Return the entities as they are at one instant; parties that are not there at that time have been left out."""
    alive = {party.id for party in parties}
    entities: dict[str, Entity] = {}
    states: dict[str, Entity] = {}
    live: dict[int, tuple[Holding, ...]] = {}
    for party in parties:
        owners: tuple[Holding, ...] = ()
        if party.owners:
            found = live.get(id(party.owners))
            if found is None:
                holdings = [stake.holding for stake in party.owners if stake.since <= at < stake.until]
                found = live[id(party.owners)] = tuple(
                    each for each in holdings if each.owner in alive or each.owner.startswith(STATE)
                )
                for owner in {each.owner for each in found} - alive:
                    states[owner] = Entity(owner.removeprefix(STATE), complete=True)
            owners = found
        dispersed = (party.dispersed or ZERO) if party.complete else ZERO
        complete = party.complete and (party.owners is None or bool(owners) or dispersed >= 100)
        entities[party.id] = Entity(party.country, party.home, owners, complete, dispersed)
    return {**entities, **states}


class _Computing:
    """What one epoch is computed from."""

    def __init__(self, parties: Sequence[Party], rules: Sequence[ControlRule], at: float) -> None:
        self._parties = parties
        self._rules = rules
        self._entities = make_entities(parties, at)
        order: Order = order_owners(self._entities)
        self.circles = order.circles
        self._labels = {rule.id: f"{TieKind.CONTROL}.{rule.id}" for rule in rules}
        self._controlled = {rule.id: compute_control(self._entities, rule.rule, order) for rule in rules}
        self._paragraphs = {
            rule.id: classify_entities(self._entities, order, rule.rule, rule.law, self._controlled[rule.id])
            for rule in rules
            if rule.law is not None
        }
        self._principals, self._subcontractors = _follow_contracts(parties, at)
        self._sets: dict[frozenset[str], FactSet] = {}
        self.pieces: list[Piece] = []

    def members(self) -> Iterator[Member]:
        """Yield everybody, and note the pieces that they are made of."""
        roles: dict[frozenset[str], str] = {}
        watch: dict[int, int] = {}
        rules = [
            (rule, controlled, self._paragraphs.get(rule), dict[tuple[int, int], int]())
            for rule, controlled in self._controlled.items()
        ]
        ways = [
            (kind.value, chains, dict[int, int]())
            for kind, chains in (
                (TieKind.PRINCIPAL, self._principals),
                (TieKind.SUBCONTRACTOR, self._subcontractors),
            )
        ]
        for party in self._parties:
            id_ = party.id
            numbers = []
            for rule, controlled, of_law, known in rules:
                found = controlled[id_]
                paragraph = NOT_APPLICABLE if of_law is None else of_law[id_]
                key = (id(found), id(paragraph))
                number = known.get(key)
                if number is None:
                    number = known[key] = self._add(self._judge(rule, found, paragraph))
                numbers.append(number)
            for kind, chains, of_kind in ways:
                chain = chains[id_]
                number = of_kind.get(id(chain))
                if number is None:
                    number = of_kind[id(chain)] = self._add(_describe_chain(kind, chain))
                numbers.append(number)
            entity = self._entities[id_]
            if entity.owners:
                number = watch.get(id(entity.owners))
                if number is None:
                    watched = find_watched(entity)
                    number = watch[id(entity.owners)] = self._add(Piece(watch=watched)) if watched else _NOTHING
                if number != _NOTHING:
                    numbers.append(number)
            told = roles.get(party.roles)
            if told is None:
                told = roles[party.roles] = ";".join(sorted(party.roles))
            yield Member(id_, party.name, party.country, told, party.shares_accounts, tuple(numbers))

    def _add(self, piece: Piece) -> int:
        self.pieces.append(piece)
        return len(self.pieces) - 1

    def _judge(self, rule: str, found: Controlled, paragraph: Fact[FactSet]) -> Piece:
        """Return what a rule says of whoever is controlled so."""
        label = self._labels[rule]
        control = Control(
            self._set(frozenset(found.countries), is_open=found.is_open),
            self._set(found.owners, is_open=found.owners_open),
            paragraph,
        )
        ties = tuple((label, country, path) for country, path in sorted(found.countries.items()))
        return Piece(ties, label if found.is_open else "", rule, control)

    def _set(self, members: frozenset[str], *, is_open: bool = False) -> FactSet:
        if is_open:
            return FactSet(members, is_open=True)
        shared = self._sets.get(members)
        if shared is None:
            shared = self._sets[members] = FactSet(members) if members else EMPTY_SET
        return shared


_NOTHING: Final = -1


def _describe_chain(kind: str, chain: Chains) -> Piece:
    ties = tuple((kind, country, path) for country, path in sorted(chain.paths.items()))
    return Piece(ties, kind if chain.is_open else "")


def find_watched(entity: Entity) -> tuple[Holding, ...]:
    """Return the owners of a minority that may be a blocking one."""
    return tuple(each for each in entity.owners if each.high >= WATCHED and each.low < HALF)


def _follow_contracts(parties: Sequence[Party], at: float) -> tuple[dict[str, Chains], dict[str, Chains]]:
    """Follow contracts up and down; a principal that is not there any more leaves open for whom the work is."""
    countries = {party.id: party.country for party in parties}
    up: dict[str, Sequence[str]] = dict.fromkeys(countries, ())
    down: dict[str, Sequence[str]] = dict.fromkeys(countries, ())
    below: dict[str, list[str]] = {}
    unsaid_up: set[str] = set()
    for party in parties:
        if party.works_for:
            live = [each.principal for each in party.works_for if each.since <= at < each.until]
            there = up[party.id] = [principal for principal in live if principal in countries]
            for principal in there:
                below.setdefault(principal, []).append(party.id)
            if len(there) < len(live):
                unsaid_up.add(party.id)
        elif party.works_for is None and not party.home:
            unsaid_up.add(party.id)
    down.update(below)
    unsaid_down = {party.id for party in parties if party.subcontractors is None}
    return follow(up, countries, unsaid_up), follow(down, countries, unsaid_down)
