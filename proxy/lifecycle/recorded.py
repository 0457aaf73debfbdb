# SPDX-License-Identifier: Apache-2.0
"""A decision line of the ledger becomes facts again, as far as it says them.

The line holds what is needed to answer for the decision, not all that the decision was made from: groups, for one,
are not recorded, and stay unknown. Registers add what they say of the affiliate today.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from proxy.bundle.snapshot import Snapshot
from proxy.caller.affiliates import Affiliates
from proxy.caller.clients import Client
from proxy.caller.parties import Party, Speaking, join, make_party, make_program
from proxy.clock import parse_instant
from proxy.errors import UsageError
from proxy.ledger.record import CallerRecorded, DecisionLine, PersonRecorded
from proxy.model.caller import KINDS, UNAUTHENTICATED, Caller, Part
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, Fact, State
from proxy.model.origin import CountrySource, Origin
from proxy.model.subject import Subject
from proxy.policy.attributes import Facts

_STATES: Final[Mapping[str, State]] = {state.value: state for state in (ABSENT, UNKNOWN, NOT_APPLICABLE)}
_DECODE: Final = msgspec.json.Decoder(DecisionLine).decode


class Recorded(msgspec.Struct, frozen=True):
    """What a line says of a request."""

    title: str
    facts: Facts
    remarks: tuple[str, ...]


def read_recorded(data: bytes, snapshot: Snapshot) -> Recorded:
    """Read a decision line.

    Raises:
        UsageError: it is none, or of a route that this bundle does not declare.
    """
    try:
        line = _DECODE(data.strip().split(b"\n")[0])
        time = parse_instant(line.time)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise UsageError(f"That is no decision line of a ledger: {error}.") from error
    resource = snapshot.resources.get(line.route)
    if resource is None:
        raise UsageError(f"The line is of the route {line.route or line.shape!r}, which this bundle does not declare.")
    origin = Origin(
        ip=_fact(line.origin.ip),
        country=_fact(line.origin.country),
        network=_fact(line.origin.network),
        source=CountrySource[line.origin.source.upper()] if line.origin.source.upper() in CountrySource.__members__
        else CountrySource.NONE,
    )  # fmt: skip
    subject = Subject(country=_fact(line.subject.country), id=UNKNOWN, reference=line.subject.id)
    facts = Facts(
        _caller(line, snapshot),
        origin,
        subject if line.subject.id not in _STATES else Subject(country=subject.country, id=_fact(line.subject.id)),
        resource,
        purpose=line.purpose or ABSENT,
        case=UNKNOWN,
        time=time,
    )
    certainty = f" ({line.certainty})" if line.certainty else ""
    recorded = f"the ledger says: effect {line.effect}, rule {line.rule or 'none'}{certainty}, reason {line.reason}"
    return Recorded(f"request {line.id}", facts, (recorded, *_remark(line, snapshot)))


def _remark(line: DecisionLine, snapshot: Snapshot) -> list[str]:
    remarks = ["not recorded, and so unknown here: the caller's id, client, groups, roles, citizenships and claims"]
    if line.policy != snapshot.policy_digest:
        remarks.append("it was decided under another policy: the rules below are not those that decided it")
    if line.registers != snapshot.registers_digest:
        remarks.append("it was decided with other registers: who owns whom may have changed")
    return remarks


def _caller(line: DecisionLine, snapshot: Snapshot) -> Caller:
    said = line.caller
    if _STATES.get(said.affiliate) is NOT_APPLICABLE:
        return UNAUTHENTICATED
    issuer = next((each for each in snapshot.issuers if each.id == said.issuer), None)
    facts: dict[str, Any] = {"affiliate": _fact(said.affiliate)}
    if said.kind in KINDS:
        facts["kind"] = said.kind
    for tie in said.ties:
        label, _, rest = tie.partition(":")
        name = {"residence": "residence", "site": "site_country"}.get(label)
        if name is not None:
            facts[name] = rest.partition(":")[0]
    affiliates = snapshot.affiliates
    party = make_party(issuer, facts, affiliates, principal="")
    acts_alone = said.on_behalf_of is None
    others = tuple(_others(said, affiliates))
    person = None if said.on_behalf_of is None else _person(said.on_behalf_of, affiliates)
    settled = msgspec.structs.replace(party, is_for_somebody=party.is_for_somebody and not acts_alone)
    return join(Speaking(settled, others, person), affiliates)


def _person(said: PersonRecorded, affiliates: Affiliates) -> Party:
    facts: dict[str, Any] = {"affiliate": _fact(said.affiliate)}
    if said.kind in KINDS:
        facts["kind"] = said.kind
    return make_party(None, facts, affiliates, principal="")


def _others(said: CallerRecorded, affiliates: Affiliates) -> Iterator[Party]:
    """Yield the programs and actors whose ties the line holds, by the affiliate that they begin at."""
    seen = set()
    for tie in said.ties:
        part, slash, rest = tie.partition("/")
        employer = rest.rpartition(":")[2].partition("<")[0]
        if slash and part in {Part.CLIENT, Part.CONNECTION, Part.ACTOR} and (part, employer) not in seen and employer:
            seen.add((part, employer))
            yield make_program(Client(employer, employer, autonomous=False), affiliates, Part(part))


def _fact(text: str) -> Fact[str]:
    return _STATES.get(text, text)
