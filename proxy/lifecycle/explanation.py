# SPDX-License-Identifier: Apache-2.0
"""How a request is decided, as a value: the verdict, every fact with where it is from, every rule and why."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from proxy.bundle.cases import BY_RECORD
from proxy.bundle.snapshot import Snapshot
from proxy.caller.issuers import Issuer
from proxy.caller.parties import find_live
from proxy.clock import render_instant
from proxy.lifecycle.answers import RecordTold, list_undeclared
from proxy.lifecycle.ruling import Asked, Outcome, Ruled, find_deciding, list_outcomes, rule
from proxy.lifecycle.subjects import ANSWERED
from proxy.model.caller import NO_PERSON, UNKNOWN_PERSON, Caller, Part, Person
from proxy.model.decision import Decision
from proxy.model.facts import ABSENT, UNKNOWN, State, describe
from proxy.model.origin import CountrySource
from proxy.model.subject import Subject
from proxy.policy.attributes import ATTRIBUTES, Facts
from proxy.policy.evaluate import decide
from proxy.policy.explain import GrantExplained, RuleExplained, explain, explain_grants
from proxy.policy.partial import Partial, decide_unresolved


class FactExplained(msgspec.Struct, frozen=True):
    """One fact, and who said so."""

    name: str
    value: str
    source: str
    details: tuple[str, ...] = ()


class AnswerExplained(msgspec.Struct, frozen=True):
    """What becomes of an answer, record by record."""

    summary: str
    refused: str
    """Why it is refused, and by which rule; empty where it is not."""
    records: tuple[RecordTold, ...]
    leaving: str | None = None
    """The body that reaches the caller, where that is asked for."""


class Explanation(msgspec.Struct, frozen=True):
    """How one request is decided."""

    title: str
    verdict: str
    decision: Decision
    facts: tuple[FactExplained, ...]
    rules: tuple[RuleExplained, ...]
    grants: tuple[GrantExplained, ...]
    places: Mapping[str, str]
    """Rule id to ``file:line``."""
    remarks: tuple[str, ...] = ()
    classes: tuple[Outcome, ...] = ()
    """What is decided before the answer tells whose data it is; then ``decision`` is that on nobody who is known."""
    answer: AnswerExplained | None = None


def explain_asked(
    title: str, asked: Asked, snapshot: Snapshot, database: str = "", *, shows_answer: bool = False
) -> Explanation:
    """Explain a request of a case, and what becomes of the records of its answer.

    Args:
        title: what the request is called.
        asked: the request.
        snapshot: the bundle.
        database: name and date of the geolocation that was asked.
        shows_answer: whether to say what leaves of the answer, word for word.
    """
    ruled, facts = rule(snapshot, asked), find_deciding(snapshot, asked)
    explained = explain_facts(title, facts, snapshot, database, tuple(_remark(asked, ruled)))
    told = ruled.answer
    answer = None
    if told is not None:
        by = f" by {told.rule}" if told.rule else ""
        leaving = told.leaving if shows_answer else None
        answer = AnswerExplained(told.describe(), told.refused and told.refused + by, told.records, leaving)
    is_decided = ruled.decision is not None and ruled.effect == ruled.decision.effect
    verdict = _verdict(ruled.decision) if is_decided and ruled.decision else _say(ruled.effect, ruled.reason)
    return msgspec.structs.replace(explained, verdict=verdict, classes=_list_classes(ruled.partial), answer=answer)


def _list_classes(partial: Partial | None) -> tuple[Outcome, ...]:
    return () if partial is None else list_outcomes(partial)


def _say(effect: str, reason: str = "") -> str:
    if effect == BY_RECORD:
        return "effect by-record: whose data it is, the answer tells"
    return f"effect {effect}" + (f", reason {reason}" if reason else "")


def _remark(asked: Asked, ruled: Ruled) -> Iterator[str]:
    """Yield how it is found out whose data it is, where the path does not say it."""
    source, inspection, told = asked.route.subject, asked.route.inspection, ruled.answer
    if source is None or asked.given.subject is not None:
        return
    if len(asked.every) > 1:
        countries = ", ".join(dict.fromkeys(describe(each.subject.country) for each in asked.every))
        yield f"{len(asked.every)} subjects, of {countries}: each is decided by itself, and the strictest counts"
    if asked.is_resolved and source.is_confirmed:
        place = f"its field {source.header}" if source.header else "each of its records"
        yield f"the country is only a claim: the answer has to confirm it, in {place}, or it is refused"
    if source.lookup:
        whose = "the request" if source.id is not None else "each record"
        yield f"the register {source.lookup} tells the country of the id of {whose}"
    for lookup, ids in sorted(asked.directory.not_asked.items()):
        known = f"{len(ids)} {'id' if len(ids) == 1 else 'ids'}"
        yield f"the register {lookup} is kept elsewhere and was not asked for {known}: unknown here"
    if not asked.is_resolved and asked.route.searchable_by is not None:
        names = ", ".join(sorted(asked.route.searchable_by)) or "no parameter"
        yield f"where a record could be dropped, the query may hold {names}"
    if told is not None and told.leaving is not None and asked.given.answer != told.leaving and inspection is not None:
        undeclared = list_undeclared(inspection, asked.given.answer or "")
        if undeclared:
            yield f"nobody declared these, and they do not leave: {', '.join(undeclared)}"
    if told is None and not asked.is_resolved and inspection is not None:
        yield "give an answer of the API, and each of its records is judged"


def explain_facts(
    title: str, facts: Facts, snapshot: Snapshot, database: str = "", remarks: Sequence[str] = ()
) -> Explanation:
    """Explain one request.

    Args:
        title: what the request is called.
        facts: of the request.
        snapshot: the bundle.
        database: name and date of the geolocation that was asked.
        remarks: what a reader should know of the facts.
    """
    decision = decide(snapshot.policy, facts)
    is_awaited = facts.subject.source == ANSWERED.source and facts.subject.country is UNKNOWN
    partial = decide_unresolved(snapshot.policy, facts) if is_awaited else None
    rules = explain(snapshot.policy, facts)
    places = snapshot.places
    return Explanation(
        title,
        _verdict(decision) if partial is None else _say(partial.verdict),
        decision,
        tuple(_Facts(facts, snapshot, database).list()),
        rules,
        explain_grants(snapshot.policy, facts),
        {rule.id: place for rule in rules if (place := places.get(f"{rule_register(rule)} {rule.id}"))},
        (*remarks, *(_tell(decision) if partial is None else ())),
        classes=_list_classes(partial),
    )


def rule_register(rule: RuleExplained) -> str:
    """Return the register that a rule stands in."""
    return "invariants" if rule.is_invariant else "rules"


def _verdict(decision: Decision) -> str:
    certainty = f", certainty {decision.rule.certainty}" if decision.rule else ""
    transforms = " and ".join(f"{each} {category}" for category, each in sorted(decision.transforms.items()))
    masked = f", transforms {transforms}" if transforms else ""
    return f"effect {decision.effect}, rule {decision.rule_id}{certainty}, reason {decision.reason}{masked}"


def _tell(decision: Decision) -> Iterator[str]:
    """Yield what the verdict does not say."""
    if decision.unknown:
        yield f"not known, and it mattered: {', '.join(decision.unknown)}"
    for lifted in decision.lifted:
        yield f"the grant {lifted.grant} lifts {lifted.rule}"
    if decision.shadow is not None:
        rules = ", ".join(rule.id for rule in decision.shadow.applied)
        change = "would change it" if decision.shadow.changes else "would change nothing"
        yield f"shadow rules {rules} {change}: effect {decision.shadow.would}"


class _Facts:
    """Lists the facts of a request, each with its source."""

    def __init__(self, facts: Facts, snapshot: Snapshot, database: str) -> None:
        self.facts = facts
        self.snapshot = snapshot
        self.database = database
        conditions = [
            *(condition for rule in snapshot.policy.rules for condition in rule.when),
            *(each for rule in snapshot.policy.rules for block in rule.unless for each in block.conditions),
        ]
        self._asked = {condition.attribute for condition in conditions}

    def list(self) -> Iterator[FactExplained]:
        """Yield every fact that some rule asks for, and those that say who asks, from where, and whose data."""
        always = {"caller.affiliate", "caller.countries", "origin.country", "subject.country", "resource.route"}
        for name, attribute in ATTRIBUTES.items():
            if name not in self._asked | always:
                continue
            fact = attribute.get(self.facts)
            value = render_instant(fact) if name == "time" and not isinstance(fact, State) else describe(fact)
            yield FactExplained(name, value, self._source(name, attribute.source), tuple(self._details(name)))

    def _source(self, name: str, documented: str) -> str:
        """Say where a fact is from: which claim, which line of a register, which database."""
        area, _, rest = name.partition(".")
        if area == "caller":
            return self._caller_source(rest, documented)
        if area == "subject":
            documented = _subject_source(self.facts.subject, documented)
        if name == "origin.network" and self.facts.origin.network is ABSENT:
            return "in no declared network"
        if name in {"origin.country", "origin.network"}:
            return self._origin_source()
        if name in {"origin.registered_country", "origin.asn", "origin.anonymous"}:
            return f"{documented}: {self.database}" if self.database else documented
        if name == "time":
            return "given" if not isinstance(self.facts.time, State) else "not given"
        return documented

    def _caller_source(self, attribute: str, documented: str) -> str:
        person: Person | Caller = self.facts.caller
        name = attribute.removeprefix("on_behalf_of.")
        if name != attribute:
            person = self.facts.caller.on_behalf_of
            if person is NO_PERSON:
                return "the caller acts for itself"
            if person is UNKNOWN_PERSON:
                return "nobody says for whom the caller acts"
        if name in {"affiliate_country", "affiliate_roles", "countries"}:
            place = self.snapshot.places.get(f"affiliates {person.affiliate}", "")
            return f"register line {place}" if place else "no line of the affiliates register"
        return self._personal_source(name, person, documented)

    def _personal_source(self, attribute: str, person: Person | Caller, documented: str) -> str:
        """Say which claim, row or certificate tells an attribute of somebody."""
        issuer = next((each for each in self.snapshot.issuers if each.id == person.issuer), None)
        authority = next((each for each in self.snapshot.authorities if each.id == person.issuer), None)
        if issuer is None and authority is None:
            return documented if attribute in {"issuer", "issuer_operator"} else "given, no issuer named"
        register = "issuers" if authority is None else "certificate_authorities"
        place = self.snapshot.places.get(f"{register} {person.issuer}", "")
        if attribute in {"issuer", "issuer_operator"}:
            return f"register line {place}"
        said = [*self._claims(attribute, issuer, place), *self._rows(attribute, issuer, person)]
        if authority is not None and attribute in {"id", "client", "kind"}:
            said.insert(0, f"a certificate of {authority.id} ({place})")
        return "; ".join(said) or f"issuer {person.issuer} maps no claim to it ({place})"

    def _claims(self, attribute: str, issuer: Issuer | None, place: str) -> Iterator[str]:
        mappings = () if issuer is None else issuer.mappings
        for mapping in mappings:
            if issuer is not None and mapping.attribute == attribute:
                yield f"claim {mapping.claim.expression} of issuer {issuer.id} ({place})"

    def _rows(self, attribute: str, issuer: Issuer | None, person: Person | Caller) -> Iterator[str]:
        """Yield what the registers of people and programs have of somebody."""
        if attribute not in _IN_ROWS or isinstance(person.id, State) or isinstance(person.issuer, State):
            return
        program = self.snapshot.clients.find(person.issuer, person.id)
        if program is not None and attribute in {"affiliate", "kind"}:
            yield f"clients, {program.id} ({self.snapshot.places.get(f'clients {program.id}', '')})"
        rows = self.snapshot.people.find(person.issuer, person.id)
        time = self.facts.time
        live = find_live(rows, math.nan if isinstance(time, State) else time)
        if live is not None:
            yield f"people, {live.place}"
        elif rows:
            told = "no time is given" if isinstance(time, State) else "none of them holds at this time"
            yield f"people, {rows[0].place}: its rows have dates, and {told}"
        elif issuer is not None and issuer.needs_people and program is None:
            yield f"people is required of issuer {issuer.id}, and has no row"
        is_named = (
            not isinstance(person, Caller) or self.snapshot.clients.find(person.issuer, person.client) is not None
        )
        if issuer is not None and issuer.needs_clients and program is None and not is_named:
            yield f"clients is required of issuer {issuer.id}, and does not have the program"

    def _origin_source(self) -> str:
        origin = self.facts.origin
        if origin.source is CountrySource.NETWORK:
            place = self.snapshot.places.get(f"networks {origin.network}", "no line")
            return f"network {describe(origin.network)}, register line {place}"
        if origin.source is CountrySource.NONE:
            return "given" if not isinstance(origin.country, State) else "nobody said"
        return f"{origin.source.value}, {self.database}" if self.database else origin.source.value

    def _details(self, name: str) -> Iterator[str]:
        if name != "caller.countries":
            return
        register = self.snapshot.affiliates.current
        if not isinstance(self.facts.time, State):
            register = self.snapshot.affiliates.at(self.facts.time)
        caller, counted = self.facts.caller, register.counted
        for tie in caller.ties:
            known = [(id_, register.by_id.get(id_)) for id_ in tie.path]
            path = " ← ".join(f"{id_} ({each.country})" if each else id_ for id_, each in known)
            place = self.snapshot.places.get(f"affiliates {tie.path[-1]}") if tie.path else None
            way = (f": {path}" if path else "") + _counts(tie.label, counted)
            yield f"{tie.country} by {tie.label}{_WHOSE[tie.of]}{way}" + (f"  [{place}]" if place else "")
        for labels in (caller.open_ties & counted, caller.open_ties - counted):
            if labels:
                told = ", ".join(sorted(labels))
                yield f"possibly others by {told}: nobody declared that there are none{_counts(min(labels), counted)}"


_SUBJECT_SOURCES: Final = {
    "query": "the request's query",
    "header": "a field of the request's head",
    "body": "the request's body",
    "form": "the form in the request's body",
    "answer": "the answer tells it",
}


def _subject_source(subject: Subject, documented: str) -> str:
    """Say what told whose data it is, where that is not the path or the route itself."""
    kind, colon, register = subject.source.partition(":")
    return f"the register {register}" if colon else _SUBJECT_SOURCES.get(kind, documented)


_IN_ROWS: Final = frozenset({"affiliate", "kind", "site_country", "residence", "citizenships"})
"""What the register of people says of somebody."""
_WHOSE: Final = {
    Part.CALLER: "",
    Part.CLIENT: " of its client",
    Part.CONNECTION: " of the service at the other end",
    Part.ACTOR: " of whoever passed the token on",
    Part.PERSON: " of the person for whom it acts",
}


def _counts(label: str, counted: frozenset[str]) -> str:
    return "" if label in counted else " (counts only where a rule asks for it by name)"
