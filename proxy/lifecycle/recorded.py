# SPDX-License-Identifier: Apache-2.0
"""A decision line of the ledger becomes facts again, as far as it says them.

The line holds what is needed to answer for the decision, not all that the decision was made from: groups, for one,
are not recorded, and stay unknown. Registers add what they say of the affiliate today.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from proxy.bundle.snapshot import Snapshot
from proxy.caller.clients import Client
from proxy.caller.issuers import Issuer
from proxy.caller.parties import Party, Speaking, join, make_party, make_program
from proxy.caller.people import Engagement
from proxy.caller.register import Register
from proxy.clock import parse_instant
from proxy.errors import UsageError
from proxy.ledger.contents import tell_records
from proxy.ledger.entry import read_frame
from proxy.ledger.lines import CallerRecorded, DecisionLine, PersonRecorded
from proxy.ledger.record import BUNDLE_DIGITS
from proxy.model.caller import KINDS, UNAUTHENTICATED, Caller, Part, Tie, TieKind
from proxy.model.counts import TALLIES, Counts
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, Fact, FactSet, State
from proxy.model.origin import CountrySource, Origin
from proxy.model.request_id import read_instant
from proxy.model.subject import Subject
from proxy.policy.attributes import Facts

_STATES: Final[Mapping[str, State]] = {state.value: state for state in (ABSENT, UNKNOWN, NOT_APPLICABLE)}
_DECODE: Final = msgspec.json.Decoder(DecisionLine).decode


class Asked(msgspec.Struct, frozen=True):
    """A decision line, and when it was decided."""

    line: DecisionLine
    time: float


class Recorded(msgspec.Struct, frozen=True):
    """What a line says of a request."""

    title: str
    facts: Facts
    remarks: tuple[str, ...]


def read_line(data: bytes) -> Asked:
    """Read a decision line.

    Raises:
        UsageError: it is none.
    """
    try:
        text = data.strip().split(b"\n")[0]
        return Asked(_DECODE(text), _read_time(text))
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"That is no decision line of a ledger: {error}.") from error


def read_recorded(data: bytes, snapshot: Snapshot) -> Recorded:
    """Return what a decision line says, in the words of a bundle.

    Raises:
        UsageError: it is none, or of a route that this bundle does not declare.
    """
    asked = read_line(data)
    line, time = asked.line, asked.time
    route = snapshot.catalog.find_route(line.route)
    if route is None:
        raise UsageError(f"The line is of the route {line.route or line.shape!r}, which this bundle does not declare.")
    subject = _subject(line, snapshot)
    origin = Origin(
        ip=_fact(line.origin.ip),
        country=_fact(line.origin.country),
        network=_fact(line.origin.network),
        registered_country=_fact(line.origin.registered_country),
        asn=_fact(line.origin.asn),
        anonymous=_set(line.origin.anonymous, is_open=line.origin.anonymous_open),
        source=CountrySource[line.origin.source.upper()] if line.origin.source.upper() in CountrySource.__members__
        else CountrySource.NONE,
    )  # fmt: skip
    facts = Facts(
        _caller(line, snapshot, time),
        origin,
        subject,
        snapshot.find_resource(route, route.api.find_upstream(subject.country)),
        purpose=line.purpose or ABSENT,
        case=UNKNOWN,
        time=time,
        counts=Counts(**{name: number for name, number in line.counts.items() if name in TALLIES}),
    )
    certainty = f" ({line.certainty})" if line.certainty else ""
    recorded = f"the ledger says: effect {line.effect}, rule {line.rule or 'none'}{certainty}, reason {line.reason}"
    return Recorded(f"request {line.id}", facts, (recorded, *_remark(line, snapshot)))


def _subject(line: DecisionLine, snapshot: Snapshot) -> Subject:
    """Return whose data it was: a key of its month names the subject in the line, another one does in grants.

    So nobody can tell which grants name the subject, but for those that lifted a rule: the subject is one of theirs.
    """
    used = {grant for _, grant in line.lifted}
    subjects = [grant.subjects for grant in snapshot.policy.grants if grant.id in used]
    shared = frozenset.intersection(*subjects) if subjects else frozenset()
    reference = min(shared, key=lambda each: (len(snapshot.policy.grants_of[each]), each), default="")
    said = line.subject.id
    return Subject(
        country=_fact(line.subject.country),
        id=_fact(said) if said in _STATES else UNKNOWN,
        reference=reference,
        source=line.subject.source,
    )


def _read_time(text: bytes) -> float:
    """Return the instant by which it was decided: of the request's id, else of the line."""
    frame = read_frame(text)
    asked = read_instant(_DECODE(text).id)
    if asked is not None:
        return asked
    if frame is None:
        raise ValueError("it does not begin as a line of a ledger does")
    return parse_instant(frame.time.decode())


def _remark(line: DecisionLine, snapshot: Snapshot) -> list[str]:
    remarks = ["not recorded, and so unknown here: the caller's id, client, groups, roles, citizenships and claims"]
    if line.bundle != snapshot.digest[:BUNDLE_DIGITS]:
        remarks.append("it was decided under another bundle: rules and who owns whom may have changed")
    if line.content is not None:
        rules = "".join(f", {number} by {rule}" for rule, number in line.content.rules.items())
        remarks.append(f"its answer held {tell_records(msgspec.to_builtins(line.content))}{rules}")
    return remarks


def _caller(line: DecisionLine, snapshot: Snapshot, time: float) -> Caller:
    said = line.caller
    if _STATES.get(said.affiliate) is NOT_APPLICABLE:
        return UNAUTHENTICATED
    issuer = next((each for each in snapshot.issuers if each.id == said.issuer), None)
    register = snapshot.affiliates.at(time)
    party = _make(issuer, said, _ties_of(said.ties, ""), register)
    acts_alone = said.on_behalf_of is None
    behind = said.on_behalf_of
    person = None if behind is None else _make(None, behind, _ties_of(said.ties, Part.PERSON), register)
    if person is not None:  # of a service that hides somebody the line says nothing but its name
        person = msgspec.structs.replace(person, is_for_somebody=False)
    settled = msgspec.structs.replace(party, is_for_somebody=party.is_for_somebody and not acts_alone)
    speaking = Speaking(settled, tuple(_others(said, register)), person)
    caller = join(speaking, register)
    if said.countries_open and isinstance(caller.countries, FactSet) and not caller.countries.is_open:
        unnamed = msgspec.structs.replace(make_program(None, register, Part.ACTOR), is_for_somebody=False)
        caller = join(msgspec.structs.replace(speaking, others=(*speaking.others, unnamed)), register)
    return caller


class _Tie(NamedTuple):
    """A tie as a line says it."""

    label: str
    country: str
    employer: str


def _ties_of(ties: tuple[str, ...], part: str) -> list[_Tie]:
    """Return the ties of one part, the caller's where it is not named."""
    found = []
    for tie in ties:
        of, slash, rest = tie.rpartition("/")
        if (of if slash else "") == part:
            label, _, way = rest.partition(":")
            country, _, path = way.partition(":")
            found.append(_Tie(label, country, path.partition("<")[0]))
    return found


def _make(issuer: Issuer | None, said: CallerRecorded | PersonRecorded, ties: list[_Tie], register: Register) -> Party:
    """Return somebody of whom a line speaks; where it was said to be two things, it is both again."""
    facts: dict[str, Any] = {"affiliate": _fact(said.affiliate)}
    if said.kind in KINDS:
        facts["kind"] = said.kind
    employers = list(dict.fromkeys(tie.employer for tie in ties if tie.label == TieKind.EMPLOYER))
    other: dict[str, Any] = {}
    if len(employers) == 1 and facts["affiliate"] is UNKNOWN:
        other["affiliate"] = employers.pop()  # it ties, and may not be all
    for name, values in (
        ("affiliate", employers),
        ("residence", [tie.country for tie in ties if tie.label == TieKind.RESIDENCE]),
        ("site_country", [tie.country for tie in ties if tie.label == TieKind.SITE]),
    ):
        facts |= {name: values[0]} if values else {}
        other |= {name: values[1]} if len(values) > 1 else {}
    return make_party(issuer, facts, register, principal="", row=Engagement(**other) if other else None)


def _others(said: CallerRecorded, register: Register) -> Iterator[Party]:
    """Yield the programs and actors whose ties the line holds, by the affiliate that they begin at."""
    for part in (Part.CLIENT, Part.CONNECTION, Part.ACTOR):
        ties = _ties_of(said.ties, part)
        for employer in dict.fromkeys(tie.employer for tie in ties if tie.employer):
            yield make_program(Client(employer, employer, autonomous=False), register, part)
        personal = tuple(Tie(tie.label, tie.country, (), part) for tie in ties if not tie.employer)
        if personal:
            nowhere = make_program(Client("", "", autonomous=False), register, part)
            yield msgspec.structs.replace(nowhere, ties=personal, open_ties=frozenset())


def _set(members: tuple[str, ...] | str, *, is_open: bool) -> Fact[FactSet]:
    return _STATES.get(members, UNKNOWN) if isinstance(members, str) else FactSet(frozenset(members), is_open)


def _fact(text: str) -> Fact[str]:
    return _STATES.get(text, text)
