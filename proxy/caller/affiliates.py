# SPDX-License-Identifier: Apache-2.0
"""The registers ``affiliates`` and ``control_rules`` as they are written, and what they may not say.

- A missing line is unknown, not none: an owner nobody declared may be anyone unless ``owners_complete``, a
  principal nobody declared, too, unless ``works_for`` is written (an empty list says: nobody).
- To whom an employer hands work on is what the register's rows say, and there may be more unless the employer lists
  them itself (``subcontractors``): a row that went missing would else be a tie that went missing.
- Contracts may not go round in a circle, not even at different times; ownership may, and does.
- A list of owners that says it is complete comes to 100 per cent at every time, so that an owner cannot go missing,
  or lapse, unseen.

What they mean is computed from ``register.Party`` and ``register.ControlRule``, which other sources can make, too.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field

from proxy.caller.covered_persons import US_28_CFR_202_211, Law
from proxy.caller.holdings import COUNTED, INTERESTS, STATE, WHOLE, ZERO, Holding
from proxy.caller.ownership import Rule
from proxy.caller.register import Affiliates, Contract, ControlRule, Party, Stake, compute_epochs
from proxy.model.caller import TieKind
from proxy.model.country import NAMES, refuse_country
from proxy.model.entry import Country, Entry, Flag, Id, Instant, Share, Text, choice
from proxy.model.problem import Problem, nearest

ROLES: Final = (
    "parent", "subsidiary", "affiliate", "joint-venture", "contractor", "subcontractor", "state-body",
)  # fmt: skip
"""What an entity can be to the organisation. The set is closed, so that a rule about `parnt` cannot be written."""


class HoldingEntry(Entry):
    """One owner of an affiliate: an affiliate (`id`) or a state, with an exact share or a range."""

    id: Id | None = None
    state: Country | None = None
    """A state that owns by itself: `state: CN`. A body of a state is an affiliate with the role `state-body`."""
    share: Share | None = None
    """Per cent."""
    min: Share | None = None
    """Per cent at least, where the share is not known exactly."""
    max: Share | None = None
    """Per cent at most."""
    interest: Annotated[str, choice(*INTERESTS)] | None = None
    """What is held; the shares and the votes alike where it is not written."""
    indirect: Flag = False
    """Whether it is held through others. It counts, and is not one of the parts that make up 100."""
    from_: Instant | None = Field(default=None, alias="from")
    until: Instant | None = None
    """It is held in [from, until)."""


class ContractEntry(Entry):
    """For whom an affiliate works, where that has dates."""

    id: Id
    from_: Instant | None = Field(default=None, alias="from")
    until: Instant | None = None


def _widen_contract(raw: Any) -> Any:
    return {"id": raw} if isinstance(raw, str) else raw


def _widen_list(raw: Any) -> Any:
    return [raw] if isinstance(raw, str) else raw


_Contract = Annotated[ContractEntry, BeforeValidator(_widen_contract, json_schema_input_type=Id | ContractEntry)]
_Countries = Annotated[list[Text], BeforeValidator(_widen_list, json_schema_input_type=Text | list[Text])]


class AffiliateEntry(Entry):
    """One entity: who owns it, and for whom it works."""

    ASSUMED: ClassVar[Mapping[str, Any]] = {"country": "JP"}
    NOT_YET: ClassVar[frozenset[str]] = frozenset({"lei", "source", "as_of", "control"})
    id: Id
    name: Text | None = None
    country: Country
    """Where it is organised."""
    home: Flag = False
    """Ends the upward walk of ownership, for itself and what it controls."""
    roles: list[Annotated[str, choice(*ROLES)]] = Field(default_factory=list)
    owners: list[HoldingEntry] = Field(default_factory=list)
    owners_complete: Flag = False
    """Whether no owner is missing from ``owners``."""
    dispersed: Share | None = None
    """Per cent in the hands of many of whom none matters. With ``owners_complete``, the owners that are listed and
    this make up 100, so that an owner cannot go missing unseen."""
    works_for: list[_Contract] | None = None
    """Its principals, all of them; nobody if the list is empty. Who they are is unknown if it is not written."""
    subcontractors: list[Id] | None = None
    """To whom it hands work on: all those that say they work for it. Who they are is unknown if it is not written."""
    shares_accounts: Flag = False
    """Whether people of its subcontractors may use its people's accounts."""
    from_: Instant | None = Field(default=None, alias="from")
    until: Instant | None = None
    """It is an affiliate in [from, until)."""


class ControlRuleEntry(Entry):
    """A named way to compute who controls whom."""

    id: Id
    threshold: Share
    comparator: Annotated[str, choice(">=", ">")] = ">="
    propagation: Annotated[str, choice("cascade", "product", "max-path")] = "cascade"
    """A holder that reaches the threshold passes its whole stake down (cascade), or shares are multiplied: the paths
    added up (product), or the strongest one (max-path)."""
    aggregate: Flag | None = None
    """Whether stakes of several holders of a country add up; they do, unless it says no."""
    interests: list[Annotated[str, choice(*INTERESTS)]] = Field(default_factory=lambda: list(COUNTED), min_length=1)
    """What counts. Each is tallied apart, and the largest decides."""
    countries: _Countries = Field(default_factory=list)
    """Countries that are one party: their stakes add up. `$name` is a country set."""
    paragraphs: Annotated[str, choice(US_28_CFR_202_211)] | None = None
    """The law whose paragraphs `caller.control.RULE.paragraph` tells."""
    domestic: _Countries = Field(default_factory=list)
    """With `paragraphs`: countries whose entities and residents are no foreign persons."""
    designated: list[Id] = Field(default_factory=list)
    """With `paragraphs`: affiliates that an authority has designated by name."""
    default: Flag = False
    """Whether its ties count without being named."""


def _seconds(instant: datetime | None, missing: float) -> float:
    return missing if instant is None else instant.timestamp()


def to_party(entry: AffiliateEntry) -> Party:
    """Return a row, typed. One that `check_affiliates` refuses may mean nothing."""
    works_for = None if entry.works_for is None else tuple(
        Contract(each.id, _seconds(each.from_, -math.inf), _seconds(each.until, math.inf)) for each in entry.works_for
    )  # fmt: skip
    return Party(
        id=entry.id,
        name=entry.name or entry.id,
        country=entry.country,
        home=entry.home,
        roles=frozenset(entry.roles),
        owners=tuple(map(_to_stake, entry.owners)) if "owners" in entry.model_fields_set else None,
        complete=entry.owners_complete,
        dispersed=entry.dispersed,
        works_for=works_for,
        subcontractors=None if entry.subcontractors is None else tuple(entry.subcontractors),
        shares_accounts=entry.shares_accounts,
        since=_seconds(entry.from_, -math.inf),
        until=_seconds(entry.until, math.inf),
    )


def _to_stake(entry: HoldingEntry) -> Stake:
    low = entry.share or entry.min or ZERO
    high = entry.share or entry.max or WHOLE
    owner = entry.id or f"{STATE}{entry.state}"
    holding = Holding(owner, low, high, entry.interest or "", entry.indirect)
    return Stake(holding, _seconds(entry.from_, -math.inf), _seconds(entry.until, math.inf))


def compile_control_rule(
    entry: ControlRuleEntry,
    find_set: Callable[[str], frozenset[str] | None],
    set_names: Iterable[str],
    ids: frozenset[str],
) -> ControlRule | list[Problem]:
    """Compile a control rule, or say what is wrong with it.

    Args:
        entry: the rule as it is written.
        find_set: returns a country set by its name.
        set_names: the names of country sets, for hints.
        ids: every affiliate's id.
    """
    concern, wrong_concern = _read_countries("countries", entry.countries, find_set, set_names)
    domestic, wrong_domestic = _read_countries("domestic", entry.domestic, find_set, set_names)
    problems = [*wrong_concern, *wrong_domestic, *_check_control_rule(entry, ids)]
    if problems:
        return problems
    rule = Rule(
        entry.threshold,
        entry.comparator == ">=",
        entry.propagation,
        entry.aggregate is not False,
        tuple(dict.fromkeys(entry.interests)),
        concern,
    )
    law = None if entry.paragraphs is None else Law(concern, domestic, frozenset(entry.designated))
    return ControlRule(entry.id, rule, entry.default, law)


def _read_countries(
    key: str, written: Sequence[str], find_set: Callable[[str], frozenset[str] | None], set_names: Iterable[str]
) -> tuple[frozenset[str], list[Problem]]:
    members: set[str] = set()
    problems = []
    for index, text in enumerate(written):
        found = find_set(text[1:]) if text.startswith("$") else frozenset({text}) & NAMES.keys()
        if found:
            members |= found
        elif text.startswith("$") and found is None:
            hint = nearest(text, [f"${name}" for name in set_names])
            problems.append(Problem((key, index), f"no country set {text!r}{hint}"))
        elif not text.startswith("$"):
            problems.append(Problem((key, index), refuse_country(text)))
    return frozenset(members), problems


def _check_control_rule(entry: ControlRuleEntry, ids: frozenset[str]) -> list[Problem]:
    problems = []
    if entry.aggregate is not None and entry.propagation == "max-path":
        problems.append(Problem(("aggregate",), "a single path adds nothing up: leave it out", at_key=True))
    if entry.aggregate is False and entry.propagation == "product":
        problems.append(Problem(("aggregate",), "paths that do not add up are `propagation: max-path`"))
    if entry.paragraphs is not None and not entry.countries:
        problems.append(Problem(("paragraphs",), "paragraphs need `countries`: those of concern"))
    problems += [
        Problem((key,), f"`{key}` goes with `paragraphs`", at_key=True)
        for key in ("domestic", "designated")
        if getattr(entry, key) and entry.paragraphs is None
    ]
    problems += [
        Problem(("designated", index), f"no affiliate {id_!r}{nearest(id_, ids)}")
        for index, id_ in enumerate(entry.designated)
        if id_ not in ids
    ]
    return problems


def check_affiliates(entries: Sequence[AffiliateEntry], ids: frozenset[str]) -> list[Problem]:
    """Return what is wrong across entries: owners and principals that do not exist, shares over 100 per cent.

    Args:
        entries: the entries that are sound by themselves.
        ids: every id that is written in the register.
    """
    problems = []
    for index, entry in enumerate(entries):
        for place, holding in enumerate(entry.owners):
            if holding.id is not None and holding.id not in ids:
                problems.append(
                    Problem(
                        (index, "owners", place, "id"),
                        f"no affiliate {holding.id!r}{nearest(holding.id, ids)}",
                    )
                )
        for place, contract in enumerate(entry.works_for or ()):
            if contract.id not in ids:
                problems.append(
                    Problem((index, "works_for", place), f"no affiliate {contract.id!r}{nearest(contract.id, ids)}")
                )
            problems += [each.under(index, "works_for", place) for each in _check_dates(contract)]
        problems += [problem.under(index) for problem in _check_entry(entry)]
    circles = _check_circles(entries)
    return problems + _check_subcontractors(entries, ids) + circles


def _check_subcontractors(entries: Sequence[AffiliateEntry], ids: frozenset[str]) -> list[Problem]:
    handed_on: dict[str, set[str]] = {}
    for entry in entries:
        for contract in entry.works_for or ():
            handed_on.setdefault(contract.id, set()).add(entry.id)
    problems = []
    for index, entry in enumerate(entries):
        if entry.subcontractors is None:
            continue
        working = handed_on.get(entry.id, set())
        problems += [
            Problem((index, "subcontractors"), f"{other!r} says that it works for this one, and is missing here")
            for other in sorted(working - set(entry.subcontractors))
        ]
        for place, other in enumerate(entry.subcontractors):
            where = (index, "subcontractors", place)
            if other not in ids:
                problems.append(Problem(where, f"no affiliate {other!r}{nearest(other, ids)}"))
            elif other not in working and len(entries) == len(ids):
                problems.append(Problem(where, f"{other!r} does not say that it works for this one"))
    return problems


def _check_circles(entries: Sequence[AffiliateEntry]) -> list[Problem]:
    """Report each circle of contracts once, at the entry that comes first."""
    principals = {entry.id: tuple(each.id for each in entry.works_for or ()) for entry in entries}
    places = {entry.id: index for index, entry in enumerate(entries)}
    problems = []
    settled: set[str] = set()
    for entry in entries:
        circle = _find_circle(entry.id, principals, settled)
        if circle:
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


def _check_dates(entry: AffiliateEntry | HoldingEntry | ContractEntry) -> list[Problem]:
    if entry.from_ is not None and entry.until is not None and entry.until <= entry.from_:
        return [Problem(("until",), "it ends before it begins")]
    return []


def _check_holding(entry: HoldingEntry) -> list[Problem]:
    problems = _check_dates(entry)
    if (entry.id is None) == (entry.state is None):
        problems.append(Problem((), "an owner is an affiliate, `id`, or a state, `state`: exactly one of them"))
    if (entry.share is None) == (entry.min is None and entry.max is None):
        problems.append(Problem((), "write `share`, or `min` and `max` where it is not known exactly"))
    if entry.min is not None and entry.max is not None and entry.max < entry.min:
        problems.append(Problem(("max",), f"it is less than `min`, {entry.min}"))
    return problems


def _check_entry(entry: AffiliateEntry) -> list[Problem]:
    problems = _check_dates(entry)
    for place, holding in enumerate(entry.owners):
        problems += [problem.under("owners", place) for problem in _check_holding(holding)]
    if entry.dispersed is not None and not entry.owners_complete:
        problems.append(
            Problem(
                ("dispersed",),
                "`dispersed` goes with `owners_complete: true`: else what is not listed may be anyone's all the same",
                at_key=True,
            )
        )
    if entry.id in [holding.id for holding in entry.owners]:
        problems.append(Problem(("owners",), f"{entry.id!r} cannot own itself"))
    if entry.id in [contract.id for contract in entry.works_for or ()]:
        problems.append(Problem(("works_for",), f"{entry.id!r} cannot work for itself"))
    return problems or _check_shares(to_party(entry))


def _check_shares(party: Party) -> list[Problem]:
    """Report what the shares come to, at every time at which they are others: the first thing that is wrong."""
    if party.owners is None:
        return []
    starts = {each.since for each in party.owners} | {each.until for each in party.owners} | {party.since}
    for at in sorted(start for start in starts if party.since <= start < party.until):
        live = [stake.holding for stake in party.owners if stake.since <= at < stake.until]
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
    owners = [(holding.owner, holding.indirect) for holding in holdings]
    if len(set(owners)) != len(owners):
        return "an owner stands twice: add its shares up"
    direct = [holding for holding in holdings if not holding.indirect]
    dispersed = party.dispersed or ZERO
    least = sum((holding.low for holding in direct), dispersed)
    most = sum((holding.high for holding in direct), dispersed)
    if least > WHOLE:
        return f"the shares{of} add up to {least} per cent, more than 100"
    if party.complete and most < WHOLE:
        return (
            f"the list is complete and adds up to {most} per cent{of}: say who holds the rest, "
            f"or `dispersed: {WHOLE - most + dispersed}` if it is many of whom none matters"
        )
    return ""


def compute_affiliates(
    entries: Sequence[AffiliateEntry],
    rules: Sequence[ControlRuleEntry],
    counted_kinds: frozenset[TieKind],
    now: float = 0.0,
) -> Affiliates:
    """Compute every affiliate's ties from entries that have been checked, with rules that name no country set.

    Args:
        entries: the register.
        rules: the control rules.
        counted_kinds: the kinds of ties that the manifest counts.
        now: the instant.
    """
    ids = frozenset(entry.id for entry in entries)
    compiled = [compile_control_rule(rule, lambda _name: None, (), ids) for rule in rules]
    sound = [rule for rule in compiled if isinstance(rule, ControlRule)]
    if len(sound) < len(compiled):
        raise ValueError(str([each for each in compiled if isinstance(each, list)]))
    return compute_epochs([to_party(entry) for entry in entries], sound, counted_kinds, now)
