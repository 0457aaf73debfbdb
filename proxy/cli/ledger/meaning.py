# SPDX-License-Identifier: Apache-2.0
"""What each field of a decision means, in words for somebody who sees a record for the first time."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from proxy.ledger.query import DEFAULT_RULE, FIELDS, Row, find_value, find_words, render_words
from proxy.model.country import NAMES
from proxy.model.counts import TALLIES
from proxy.model.decision import Reason
from proxy.model.facts import State
from proxy.pipeline.answers import ANSWERS

_STATES: Final[Mapping[str, str]] = {
    State.UNKNOWN.value: "unknown (nobody could tell)",
    State.ABSENT.value: "none",
    State.NOT_APPLICABLE.value: "does not apply here",
}
_REASONS: Final[Mapping[str, str]] = {
    Reason.RULE_ALLOWS: "a rule allows it, and none denies it",
    Reason.INVARIANT_DENIES: "an invariant denies it: a deny rule that no grant can lift",
    Reason.RULE_DENIES: "a deny rule applies",
    Reason.NO_RULE_ALLOWS: "no rule allows it, and what no rule allows is denied",
    Reason.TRANSFORMS_NOT_APPLIED: "rules ask for fields to be masked, and this answer could not be changed so",
    Reason.SUBJECT_NOT_CONFIRMED: "the answer is about somebody of another country than the request said",
    Reason.SUBJECT_UNRESOLVED: "whose data it is would be known from the answer alone, and that is too late here",
    Reason.POLICY_CHANGED: "the policy was changed while the request was under way, and now denies it",
}
_FRAME: Final = frozenset({("line",), ("prev",), ("end",)})


class Told(NamedTuple):
    """One field, told."""

    label: str
    value: str
    meaning: str


class _Item(NamedTuple):
    label: str
    fields: tuple[str, ...]
    meaning: str
    render: Callable[[Row], str] | None = None
    """Of the first field unless told."""


def _join(row: Row, name: str) -> str:
    return ", ".join(_STATES.get(word, word) for word in find_words(row, name))


def _countries(row: Row, name: str, is_open: str = "") -> str:
    words = [f"{word} ({NAMES[word]})" if word in NAMES else _STATES.get(word, word) for word in find_words(row, name)]
    others = ", and possibly others that nobody declared" if is_open and find_value(row, is_open) is True else ""
    return ", ".join(words) + others


def _country_of(name: str, is_open: str = "") -> Callable[[Row], str]:
    return lambda row: _countries(row, name, is_open)


def _anonymous(row: Row) -> str:
    words = find_value(row, "anonymous")
    if words == []:
        return "none of it"
    return _join(row, "anonymous") + (", and possibly more" if find_value(row, "anonymous_open") is True else "")


def _effect(row: Row) -> str:
    effect = str(find_value(row, "effect"))
    if find_value(row, "enforced") is False:
        return f"{effect}, but only observed: the request went on"
    return effect


def _reason(row: Row) -> str:
    reason = str(find_value(row, "reason"))
    answer = ANSWERS[Reason(reason)].title if reason in set(Reason) else ""
    told = _REASONS.get(reason, answer[:1].lower() + answer[1:])
    return f"{reason}: {told}" if told else reason


def _rule(row: Row) -> str:
    rule = str(find_value(row, "rule"))
    return f"none ({rule})" if rule == DEFAULT_RULE else rule


def _certainty(row: Row) -> str:
    certainty = str(find_value(row, "certainty"))
    meanings = {
        "matched": "every fact that the rule asks for was known",
        "by-unknown": "facts that the rule asks for were unknown, and a deny rule applies then, too",
    }
    return f"{certainty}: {meanings[certainty]}" if certainty in meanings else certainty


def _tell_rules(rules: Any) -> str:
    listed = [rule for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    return "; ".join(map(_tell_rule, listed))


def _tell_rule(rule: Row) -> str:
    told = " ".join(word for key in ("effect", "id", "certainty") for word in render_words(rule.get(key)))
    unknown = ", ".join(render_words(rule.get("unknown"))).strip()
    return f"{told} (not known: {unknown})" if unknown else told


def _rules(row: Row) -> str:
    return _tell_rules(find_value(row, "rules"))


_COUNTS: Final = tuple(f"counts_{name}" for name in TALLIES)


def _counts(row: Row) -> str:
    told = [(name.removeprefix("counts_"), _join(row, name)) for name in _COUNTS]
    return ", ".join(f"{name} {count}" for name, count in told if count)


_SHOWN_PEOPLE: Final = 10
_SOURCES: Final[Mapping[str, str]] = {
    "literal": "the route itself",
    "path": "the request's path",
    "query": "the request's query",
    "header": "a field of the request's head",
    "body": "the request's body",
    "form": "the form that was sent",
    "answer": "the answer",
}


def _numbers(name: str) -> Callable[[Row], str]:
    """Return what tells numbers by name, the largest first."""

    def tell(row: Row) -> str:
        value = find_value(row, name)
        if not isinstance(value, dict):
            return ""
        numbers = sorted(value.items(), key=lambda item: (-item[1] if isinstance(item[1], int) else 0, item[0]))
        return ", ".join(
            f"{key} ({NAMES[key]}) {number}" if key in NAMES else f"{key} {number}" for key, number in numbers
        )

    return tell


def _source(row: Row) -> str:
    source = str(find_value(row, "subject_source"))
    kind, colon, register = source.partition(":")
    return f"the look-up {register}" if colon and kind == "lookup" else _SOURCES.get(source, source)


def _people(row: Row) -> str:
    named = [word for word in find_words(row, "records_subjects") if word]
    more = f", and {len(named) - _SHOWN_PEOPLE} more" if len(named) > _SHOWN_PEOPLE else ""
    return ", ".join(named[:_SHOWN_PEOPLE]) + more


def _shadow(row: Row) -> str:
    would = str(find_value(row, "shadow_would"))
    if not would:
        return ""
    changes = "a change" if find_value(row, "shadow_changes") is True else "no change"
    return f"{would}, which is {changes}: {_tell_rules(find_value(row, 'shadow_rules'))}"


def _ties(row: Row) -> str:
    return "; ".join(_tell_tie(word) for word in find_words(row, "ties") if word)


def _tell_tie(tie: str) -> str:
    """Render ``part/label:country:path``, whose path goes from the employer upward."""
    label, _, rest = tie.partition(":")
    country, _, path = rest.partition(":")
    part, slash, kind = label.rpartition("/")
    whose = f" of the {part.replace('_', ' ')}" if slash else ""
    by = f"{country} by {kind}" if country else kind
    return f"{by}{whose}" + (f" ({path.replace('<', ' ← ')})" if path else "")


def _person(row: Row) -> str:
    names = ("on_behalf_of", "on_behalf_of_issuer", "on_behalf_of_affiliate", "on_behalf_of_kind")
    return ", ".join(word for name in names for word in [_join(row, name)] if word)


def _released(row: Row) -> str:
    if find_value(row, "released") is not True:
        return "nothing of the API's answer"
    return "the API's answer" if find_value(row, "action") in {"", "read"} else "the request went to the API"


def _complete(row: Row) -> str:
    if find_value(row, "released") is not True:
        return ""
    complete = row.get("complete")
    if not isinstance(complete, bool):
        return "not recorded: still under way, or the gateway ended before it could say"
    return "yes" if complete else f"no: {find_value(row, 'end_reason') or 'nobody knows why'}"


_SECTIONS: Final[tuple[tuple[str, tuple[_Item, ...]], ...]] = (
    (
        "Who asked",
        (
            _Item(
                "who",
                ("who",),
                "a keyed pseudonym: whoever has the key can tell whom it means; or ISSUER|SUBJECT in clear",
                lambda row: _join(row, "who") or "nobody who is known",
            ),
            _Item("issuer", ("issuer",), "who vouched for the caller: the id of the issuer in the policy"),
            _Item("affiliate", ("affiliate",), "the company that the caller works for"),
            _Item("kind", ("kind",), "employee, contractor or service"),
            _Item(
                "tied to",
                ("countries", "countries_open"),
                "the countries that count for rules",
                _country_of("countries", "countries_open"),
            ),
            _Item("how it is tied", ("ties",), "country by kind of tie (the way from the employer upward)", _ties),
            _Item(
                "acted for",
                ("on_behalf_of", "on_behalf_of_issuer", "on_behalf_of_affiliate", "on_behalf_of_kind"),
                "whose request it passed on",
                _person,
            ),
            _Item("purpose", ("purpose",), "what the caller said it reads for, where it may say so"),
        ),
    ),
    (
        "From where",
        (
            _Item("address", ("ip",), "the client's, as the trusted proxies say it"),
            _Item("country", ("origin_country",), "where the address is", _country_of("origin_country")),
            _Item("told by", ("origin_source",), "what said so: a declared network, a database, registry data, none"),
            _Item("network", ("network",), "the declared network that the address is in"),
            _Item(
                "registered in",
                ("registered_country",),
                "the country of whoever holds the block of addresses",
                _country_of("registered_country"),
            ),
            _Item("system", ("asn",), "the autonomous system that announces the address"),
            _Item("hides", ("anonymous", "anonymous_open"), "VPN, proxy, Tor, hosting: then the place says little",
                  _anonymous),
        ),
    ),
    (
        "Whose data",
        (
            _Item("asked for", ("method",), "method, API, route and action",
                  lambda row: " ".join(word for name in ("method", "api", "route", "action")
                                       for word in find_words(row, name) if word)),
            _Item("undeclared path", ("shape",), "a path that no route declares; * stands for what is not recorded"),
            _Item("data", ("data",), "the categories of personal data that the route declares"),
            _Item("country", ("subject_country",), "where the person is whose data it is",
                  _country_of("subject_country")),
            _Item("told by", ("subject_source",), "what said the country: route, request, answer or look-up",
                  _source),
            _Item("person", ("subject",), "a keyed pseudonym of that person"),
            _Item("read so far", _COUNTS, "how much the caller read, this included, where a rule asks", _counts),
        ),
    ),
    (
        "What was decided",
        (
            _Item("effect", ("effect", "enforced"), "allow or deny", _effect),
            _Item("reason", ("reason",), "why", _reason),
            _Item("rule", ("rule",), "the rule that determined it", _rule),
            _Item("how sure", ("certainty",), "matched or by-unknown", _certainty),
            _Item("rules", ("rules",), "all that applied; left out where the one above is all", _rules),
            _Item("not listed", ("unlisted",), "how many more rules applied",
                  lambda row: _join(row, "unlisted") if find_value(row, "unlisted") else ""),
            _Item("not known", ("unknown",), "facts that rules asked for and that nobody could tell"),
            _Item("masked", ("transforms",), "categories of data, and what was done to them"),
            _Item("lifted", ("lifted",), "a rule that would have applied = the grant (an approved exception) for it"),
            _Item("in shadow", ("shadow_would", "shadow_changes", "shadow_rules"),
                  "what rules that are only tried out would have done", _shadow),
        ),
    ),
    (
        "What left",
        (
            _Item("released", ("released",), "whether the checkpoint was passed", _released),
            _Item("status", ("status",), "the HTTP status that the caller was answered"),
            _Item("API's status", ("upstream",), "what the API said, where the caller was told another"),
            _Item("bytes", ("bytes",), "of the answer's body, or through a tunnel from the API"),
            _Item("bytes in", ("bytes_in",), "through a tunnel from the caller",
                  lambda row: _join(row, "bytes_in") if find_value(row, "bytes_in") else ""),
            _Item("whole", ("complete", "end_reason"), "whether all of the answer was passed on", _complete),
            _Item("records", ("records_seen",), "found in the answer, where it was looked into"),
            _Item("dropped", ("records_dropped",), "records that were taken out"),
            _Item("masked records", ("records_masked",), "records of which fields were masked"),
            _Item("left", ("records_left",), "records that left, by the country of the person",
                  _numbers("records_left")),
            _Item("kept back", ("records_kept_back",), "records that were taken out, likewise",
                  _numbers("records_kept_back")),
            _Item("by rule", ("records_rules",), "records that were taken out or masked, by the rule that asked for it",
                  _numbers("records_rules")),
            _Item("people", ("subjects",), "different people whose data left"),
            _Item("whose", ("records_subjects",), "keyed pseudonyms of these people", _people),
        ),
    ),
    (
        "When, and under what",
        (
            _Item("recorded", ("time",), "when the decision was written, before anything left; UTC"),
            _Item("ended", ("end_time",), "when the answer was over; UTC"),
            _Item("seconds", ("seconds",), "from the request's head to the end"),
            _Item("bundle", ("bundle",), "the beginning of the digest of the policies and registers that decided"),
            _Item("geolocation", ("geolocation",), "the version of the data that say where addresses are"),
            _Item("trace", ("trace",), "finds the request in traces (W3C Trace Context)"),
        ),
    ),
)  # fmt: skip
_ELSEWHERE: Final = frozenset({"id", "n", "end_n", "api", "route", "action"})


def tell_sections(row: Row) -> Iterator[tuple[str, list[Told]]]:
    """Return what a decision says: sections, each with its fields; empty ones are left out."""
    for title, items in _SECTIONS:
        told = [Told(item.label, value, item.meaning) for item in items if (value := _value(row, item))]
        if told:
            yield title, told
    others = [Told(".".join(path), ", ".join(render_words(value)), "") for path, value in _walk(row, ())]
    if others:
        yield "What this version does not know", others


def _value(row: Row, item: _Item) -> str:
    return item.render(row) if item.render is not None else _join(row, item.fields[0])


def _walk(value: Row, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Return what stands at none of the places of fields."""
    known = {field.path for field in FIELDS.values()} | _FRAME
    for key, member in value.items():
        here = (*path, key)
        if here in known:
            continue
        if isinstance(member, dict) and any(each[: len(here)] == here for each in known):
            yield from _walk(member, here)
        else:
            yield here, member


def told_fields() -> frozenset[str]:
    """Return the names of the fields that some section tells."""
    return _ELSEWHERE.union(*(item.fields for _, items in _SECTIONS for item in items))
