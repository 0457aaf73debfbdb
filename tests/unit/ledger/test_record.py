# SPDX-License-Identifier: Apache-2.0
"""Lines of the ledger: every outcome becomes one, on one line, and nothing that a caller chose is in it."""

import base64
import itertools
import json
import unicodedata
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.clock import parse_instant
from proxy.ledger import record
from proxy.ledger.entry import encode_body
from proxy.ledger.lines import (
    BundleLine,
    CallerRecorded,
    ContentRecorded,
    DecisionLine,
    EndLine,
    OriginRecorded,
    StartLine,
    SubjectRecorded,
)
from proxy.ledger.pseudonym import KeyRing
from proxy.ledger.record import Recorder, geolocation_line, render_place
from proxy.model.api import Action, Api, Route, Selector, SubjectSource, Template, Upstream, Where
from proxy.model.caller import KINDS, NO_PERSON, UNAUTHENTICATED, UNKNOWN_PERSON, Caller, Control, Person, Tie, TieKind
from proxy.model.decision import AppliedRule, Certainty, Decision, Effect, Reason
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, FactSet, State
from proxy.model.origin import CountrySource, DatabaseInfo, Origin
from proxy.model.outcome import Outcome
from proxy.model.subject import NO_SUBJECT, Subject
from tests.support.keys import NAMES, RING

RECORDER = Recorder(RING, "b" * 64)
NOW = 1616457600.25

API = Api("users", ("users.example",), Upstream("http://127.0.0.1:9000", "JP"), forwards_authorization=False)
ROUTE = Route(
    api=API,
    id="user",
    methods=("GET",),
    segments=(Template("v1", is_parameter=False), Template("id", is_parameter=True)),
    action=Action.READ,
    subject=SubjectSource(country=Selector(Where.LITERAL, "JP"), id=Selector(Where.PATH, "id")),
    data=FactSet(frozenset({"phone", "name"})),
    unauthenticated=False,
    max_duration_seconds=60,
)
RULE = AppliedRule("jp-no-china", Effect.DENY, Certainty.BY_UNKNOWN, "A title", ("caller.countries",))
DECISION = Decision(Effect.DENY, Reason.RULE_DENIES, RULE, (RULE,), ("caller.countries",))
CALLER = Caller(
    on_behalf_of=NO_PERSON,
    principal="corp|wang",
    issuer="corp",
    kind="contractor",
    affiliate="shanghai-digital",
    countries=FactSet(frozenset({"JP", "CN"}), is_open=True),
    ties=(Tie("employer", "CN", ("shanghai-digital",)), Tie("control.majority", "JP", ("shanghai-digital", "ly"))),
)


def an_outcome(**changes: Any) -> Outcome:
    outcome = Outcome(
        request_id="01F1G2V3W4X5Y6Z7A8B9C0D1E2",
        now=NOW,
        method="GET",
        route=ROUTE,
        shape="",
        caller=CALLER,
        origin=Origin(ip="203.0.113.24", country="JP", network="tokyo-vpn", source=CountrySource.NETWORK),
        subject=Subject(country="JP", id="42"),
        purpose=ABSENT,
        decision=DECISION,
        effect=Effect.DENY,
        reason=Reason.RULE_DENIES,
        enforced=True,
        status=403,
    )
    return msgspec.structs.replace(outcome, **changes)


def write(outcome: Outcome, *, released: bool = False) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(encode_body(RECORDER.decision(outcome, released=released)))
    return line


def decide(outcome: Outcome, recorder: Recorder = RECORDER, **more: Any) -> DecisionLine:
    """Return the line of an outcome as a reader has it."""
    return msgspec.json.decode(
        encode_body(recorder.decision(outcome, **{"released": False, **more})), type=DecisionLine
    )


# What a line says.


def test_a_denial_is_written_with_everything_that_led_to_it() -> None:
    assert write(an_outcome()) == {
        "line": "decision",
        "id": "01F1G2V3W4X5Y6Z7A8B9C0D1E2",
        "effect": "deny",
        "reason": "rule-denies",
        "released": False,
        "status": 403,
        "rule": "jp-no-china",
        "certainty": "by-unknown",
        "rules": [{"id": "jp-no-china", "effect": "deny", "certainty": "by-unknown", "unknown": ["caller.countries"]}],
        "unknown": ["caller.countries"],
        "method": "GET",
        "api": "users",
        "route": "user",
        "action": "read",
        "data": ["name", "phone"],
        "caller": {
            "who": NAMES.of_caller("corp|wang"),
            "issuer": "corp",
            "affiliate": "shanghai-digital",
            "kind": "contractor",
            "countries": ["CN", "JP"],
            "countries_open": True,
            "ties": ["employer:CN:shanghai-digital", "control.majority:JP:shanghai-digital<ly"],
        },
        "origin": {"ip": "203.0.113.24", "country": "JP", "network": "tokyo-vpn", "source": "network"},
        "subject": {"country": "JP", "id": NAMES.of_subject("users", "42")},
        "bundle": "b" * 32,
    }


SAID = [
    pytest.param({"enforced": False}, "enforced", False, id="a refusal that was only observed says so"),
    pytest.param({"decision": None}, "rule", None, id="without a decision no rule is named"),
    pytest.param({"decision": msgspec.structs.replace(DECISION, rule=None, applied=())}, "rule", "default",
                 id="without a rule that allows the rule is default"),
    pytest.param({"route": None, "shape": "/v1/*"}, "shape", "/v1/*", id="an undeclared target is its shape"),
    pytest.param({"status": None}, "status", None, id="a status that is not known yet is null"),
    pytest.param({"method": "other"}, "method", "other", id="a method that is none of ours is other"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "field", "expected"), SAID)
def test_a_decision_line_says(changes: dict[str, Any], field: str, expected: object) -> None:
    assert write(an_outcome(**changes)).get(field) == expected


CALLERS = [
    pytest.param(Caller(), "", "unknown", id="nobody that is known"),
    pytest.param(UNAUTHENTICATED, "", "not applicable", id="nobody in particular"),
    pytest.param(
        Caller(issuer=ABSENT, affiliate=ABSENT, kind=ABSENT, on_behalf_of=NO_PERSON),
        "",
        "absent",
        id="known to be none",
    ),
]


DEFAULT_CALLER = {"who": "", **dict.fromkeys(("issuer", "affiliate", "kind", "countries"), "unknown")}
UNKNOWN_SUBJECT = {"country": "unknown", "id": "unknown"}


@pytest.mark.parametrize(("caller", "who", "state"), CALLERS)
def test_a_caller_that_is_no_value_is_written_as_the_state_of(caller: Caller, who: str, state: str) -> None:
    written = write(an_outcome(caller=caller))["caller"]
    countries = str(getattr(caller.countries, "value", ""))
    for_whom: dict[str, object] = {"on_behalf_of": {}} if caller.on_behalf_of == UNKNOWN_PERSON else {}
    said = {"who": who, "issuer": state, "affiliate": state, "kind": state, "countries": countries}
    assert DEFAULT_CALLER | written == {**said, **for_whom}


def test_what_everybody_leaves_unsaid_is_left_out_and_read_back() -> None:
    caller, origin = Caller(on_behalf_of=NO_PERSON), Origin(network=ABSENT)
    outcome = an_outcome(caller=caller, origin=origin, subject=Subject(), status=None)
    said = {name: value for name, value in write(outcome).items() if value not in ({}, {"source": "none"})}
    assert said.keys().isdisjoint({"caller", "origin", "subject", "status", "trace", "upstream", "complete", "bytes"})
    read = decide(outcome)
    assert (read.caller, read.origin, read.subject) == (CallerRecorded(), OriginRecorded(), SubjectRecorded())


# What else is said of the answer.


def test_the_rule_that_decided_is_not_listed_again_where_it_alone_applied_and_all_was_known() -> None:
    rule = AppliedRule("own-staff", Effect.ALLOW, Certainty.MATCHED, "A title")
    said = write(an_outcome(decision=Decision(Effect.ALLOW, Reason.RULE_ALLOWS, rule, (rule,), ())))
    assert (said["rule"], said["certainty"]) == ("own-staff", "matched")
    assert "rules" not in said


def test_an_answer_in_hand_says_that_it_is_complete_how_long_it_is_and_how_long_it_took() -> None:
    line = RECORDER.decision(an_outcome(status=200), released=True, whole=0, seconds=0.12345678)
    said = json.loads(encode_body(line))
    assert (said["complete"], said.get("bytes", 0), said["seconds"]) == (True, 0, 0.123457)
    said = json.loads(encode_body(RECORDER.decision(an_outcome(status=200), released=True, whole=17, seconds=1.0)))
    assert (said["bytes"], said["seconds"]) == (17, 1.0)


def test_an_answer_that_is_not_in_hand_says_nothing_of_its_end() -> None:
    said = json.loads(encode_body(RECORDER.decision(an_outcome(), released=True, seconds=1.0)))
    assert said.keys().isdisjoint({"complete", "bytes", "seconds"})


def test_the_apis_own_status_and_the_trace_are_said_where_there_are_any() -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    said = json.loads(encode_body(RECORDER.decision(an_outcome(trace=trace), released=True, upstream=404)))
    assert (said["trace"], said["upstream"]) == (trace, 404)


def test_what_was_found_in_records_can_be_said_and_is_left_out_where_it_is_nothing() -> None:
    content = ContentRecorded(seen=5, dropped=2, subjects=3, subject_ids=("users:ab",))
    line = msgspec.structs.replace(decide(an_outcome(), released=True), content=content)
    assert json.loads(encode_body(line))["content"] == {
        "seen": 5,
        "dropped": 2,
        "subjects": 3,
        "subject_ids": ["users:ab"],
    }


@pytest.mark.parametrize("state", list(State))
def test_a_subject_that_is_no_value_is_written_as_its_state(state: State) -> None:
    said = write(an_outcome(subject=Subject(country=state, id=state))).get("subject", {})
    assert UNKNOWN_SUBJECT | said == {"country": state.value, "id": state.value}


def test_a_subject_without_a_route_has_no_pseudonym_of_any_api() -> None:
    subject = Subject(country="JP", id="42")
    assert write(an_outcome(route=None, subject=subject))["subject"] == {"country": "JP"}


def test_countries_that_could_be_any_are_told_apart_from_countries_that_have_no_meaning() -> None:
    unknown = write(an_outcome(caller=msgspec.structs.replace(CALLER, countries=UNKNOWN)))
    meaningless = write(an_outcome(caller=msgspec.structs.replace(CALLER, countries=NOT_APPLICABLE)))
    assert unknown["caller"] != meaningless["caller"]


def test_an_end_says_how_much_left_and_why_it_broke_off() -> None:
    line = EndLine(id="01F", status=200, complete=False, reason=Reason.CLIENT_GONE, bytes=7, seconds=0.123457)
    assert json.loads(encode_body(line)) == {
        "line": "end",
        "id": "01F",
        "status": 200,
        "complete": False,
        "reason": "client-gone",
        "bytes": 7,
        "seconds": 0.123457,
    }


# Every outcome has a line.

SECRET = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789.~_%=;&/+-", min_size=6, max_size=30).map("zq!{}".format)
"""Text of a caller's; nothing of ours has ``zq!`` in it."""
IDS = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8})?", fullmatch=True)
STATES = st.sampled_from(State)
COUNTRIES = st.sampled_from(["JP", "CN", "KR", "TW"])
COUNTRY_SETS = st.builds(FactSet, st.frozensets(COUNTRIES), st.booleans())
SECRET_SETS = st.builds(FactSet, st.frozensets(SECRET, min_size=1), st.booleans())
LABELS = st.sampled_from([*(kind.value for kind in TieKind), "control.majority"])
RULES = st.builds(AppliedRule, IDS, st.sampled_from(Effect), st.sampled_from(Certainty), SECRET, st.just(()))
CALLERS_OF_ALL_KINDS = st.builds(
    Caller,
    principal=st.just("") | SECRET,
    id=SECRET | STATES,
    issuer=IDS | STATES,
    client=SECRET | STATES,
    kind=st.sampled_from(KINDS) | STATES,
    affiliate=IDS | STATES,
    site_country=COUNTRIES | STATES,
    residence=COUNTRIES | STATES,
    citizenships=COUNTRY_SETS | STATES,
    groups=SECRET_SETS | STATES,
    roles=SECRET_SETS | STATES,
    countries=COUNTRY_SETS | STATES,
    ties=st.lists(st.builds(Tie, LABELS, COUNTRIES, st.lists(IDS, max_size=3).map(tuple)), max_size=4).map(tuple),
    control=st.dictionaries(IDS, st.builds(Control, COUNTRY_SETS | STATES, SECRET_SETS | STATES), max_size=2),
)
DECISIONS = st.builds(
    Decision,
    st.sampled_from(Effect),
    st.sampled_from(Reason),
    st.none() | RULES,
    st.lists(RULES, max_size=3).map(tuple),
    st.lists(st.sampled_from(["caller.countries", "origin.country"]), max_size=2).map(tuple),
)
OUTCOMES = st.builds(
    Outcome,
    request_id=st.from_regex(r"[0-9A-Z]{26}", fullmatch=True),
    now=st.floats(0, 4e9),
    method=st.sampled_from(["GET", "PUT", "other"]),
    route=st.none() | st.just(ROUTE),
    shape=st.sampled_from(["", "/v1/*", "/v1/*/…"]),
    caller=CALLERS_OF_ALL_KINDS,
    origin=st.builds(
        Origin,
        ip=st.ip_addresses().map(str) | STATES,
        country=COUNTRIES | STATES,
        registered_country=COUNTRIES | STATES,
        network=IDS | STATES,
        source=st.sampled_from(CountrySource),
    ),
    subject=st.just(NO_SUBJECT) | st.builds(Subject, country=COUNTRIES | STATES, id=SECRET | STATES),
    decision=st.none() | DECISIONS,
    effect=st.sampled_from(Effect),
    reason=st.sampled_from(Reason),
    enforced=st.booleans(),
    status=st.none() | st.integers(200, 599),
)


def texts_of_the_caller(outcome: Outcome) -> Iterator[str]:
    caller = outcome.caller
    sets = [caller.groups, caller.roles, *(control.owners for control in caller.control.values())]
    facts = [caller.principal, caller.id, caller.client, outcome.subject.id]
    yield from (fact for fact in facts if isinstance(fact, str) and fact)
    yield from (member for fact in sets if isinstance(fact, FactSet) for member in fact.members)


def forms(secret: str) -> tuple[str, ...]:
    raw = secret.encode()
    return secret, raw.hex(), base64.b64encode(raw).decode().rstrip("="), secret[::-1], secret.upper()


@settings(max_examples=200)
@given(OUTCOMES, st.booleans())
def test_any_outcome_has_a_line_that_reads_back_the_same(outcome: Outcome, released: bool) -> None:  # noqa: FBT001
    encoded = encode_body(RECORDER.decision(outcome, released=released))
    line = msgspec.json.decode(encoded, type=DecisionLine)
    assert msgspec.json.decode(encode_body(line), type=DecisionLine) == line
    assert json.loads(encoded).keys() <= {"line", *DecisionLine.__struct_fields__}
    read = (line.id, line.effect, line.reason, line.method, line.status, line.released, line.enforced)
    assert read == (
        outcome.request_id, outcome.effect, outcome.reason, outcome.method, outcome.status, released, outcome.enforced
    )  # fmt: skip
    assert encoded.count(b"\n") == 0


@settings(max_examples=200)
@given(OUTCOMES)
def test_nothing_that_a_token_or_a_request_said_in_its_own_words_is_in_the_line(outcome: Outcome) -> None:
    line = encode_body(RECORDER.decision(outcome, released=False)).decode()
    assert [form for text in texts_of_the_caller(outcome) for form in forms(text) if form in line] == []


@settings(max_examples=50)
@given(OUTCOMES, SECRET, SECRET)
def test_two_people_differ_in_their_pseudonym_alone(outcome: Outcome, one: str, other: str) -> None:
    lines = []
    for text in (one, other):
        caller = msgspec.structs.replace(outcome.caller, principal=text, id=text, client=text)
        lines.append(msgspec.to_builtins(decide(msgspec.structs.replace(outcome, caller=caller))))
    assert lines[0]["caller"].pop("who") == NAMES.of_caller(one)
    assert lines[1]["caller"].pop("who") == NAMES.of_caller(other)
    assert lines[0] == lines[1]


@pytest.mark.parametrize("reason", list(Reason))
def test_with_whatever_else_missing_there_is_a_line_for(reason: Reason) -> None:
    parts = ((None, DECISION), (None, ROUTE), (CALLER, UNAUTHENTICATED, Caller()), (NO_SUBJECT, Subject()))
    for decision, route, caller, subject in itertools.product(*parts):
        changes = {"reason": reason, "decision": decision, "route": route, "subject": subject, "caller": caller}
        assert write(an_outcome(**changes))["reason"] == reason


# A line is one line.

HOSTILE = [
    pytest.param("\n", id="a line feed"),
    pytest.param("\r\n", id="a carriage return and a line feed"),
    pytest.param('"}\n{"line":"decision"', id="the start of another line"),
    pytest.param("\x00\x1b[2J\x7f", id="zeros, escapes and delete"),
    pytest.param("\x0b\x0c\x1c\x1d\x1e", id="separators that Python takes for line ends"),
    pytest.param("\x85\x9b", id="the controls of Latin-1"),
    pytest.param("\u2028\u2029", id="line and paragraph separators of Unicode"),
    pytest.param("\u202e", id="an override of the direction of writing"),
]


def lines_with(text: str) -> list[object]:
    places = {text: text}
    return [
        StartLine(durability=text, version=text, geolocation=text, upstreams=places, key_places=places),
        BundleLine(bundle=text, name=text, policy=text, registers=text, mode=text, observe_until=text),
        EndLine(id=text, complete=True, reason=text),
        RECORDER.decision(an_outcome(request_id=text, method=text, shape=text), released=False),
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_line_is_one_line_without_control_characters_whatever_text_is_inside(text: str) -> None:
    for line in lines_with(text):
        encoded = encode_body(line).decode()
        assert encoded.splitlines(keepends=True) == [encoded]
        assert [unicodedata.name(c, repr(c)) for c in encoded if unicodedata.category(c) == "Cc"] == []


@given(st.text())
def test_a_line_is_one_line_for_whoever_splits_at_line_feeds(text: str) -> None:
    for line in lines_with(text):
        encoded = encode_body(line)
        assert (encoded.count(b"\n"), encoded.count(b"\r")) == (0, 0)
        assert text in json.loads(encoded).values()


@pytest.mark.parametrize("state", [UNKNOWN, ABSENT, NOT_APPLICABLE])
def test_the_state_of_a_fact_is_told_apart_in_the_origin(state: State) -> None:
    origin = Origin(ip=state, country=state, network=state, registered_country=state, asn=state, anonymous=state)
    said = dict.fromkeys(("ip", "country", "network", "registered_country", "asn", "anonymous"), state.value)
    defaults = dict.fromkeys(said, "unknown") | {"network": "absent", "source": "none"}
    assert defaults | write(an_outcome(origin=origin))["origin"] == {**said, "source": "none"}


def test_what_geolocation_said_is_written_with_the_version_of_its_data() -> None:
    hidden = FactSet(frozenset({"vpn", "anonymous"}), is_open=True)
    origin = Origin(ip="192.0.2.1", country="JP", registered_country="US", asn="AS4134", anonymous=hidden)
    recorder = Recorder(RING, "b" * 64, "sha256:g")

    line = json.loads(encode_body(recorder.decision(an_outcome(origin=origin), released=False)))

    assert line["geolocation"] == "sha256:g"
    assert {key: line["origin"][key] for key in ("registered_country", "asn", "anonymous", "anonymous_open")} == {
        "registered_country": "US",
        "asn": "AS4134",
        "anonymous": ["anonymous", "vpn"],
        "anonymous_open": True,
    }


def test_geolocation_data_are_recorded_as_evidence() -> None:
    database = DatabaseInfo("asn", "GeoLite2-ASN", 1_700_000_000.0, "sha256:d", 1_800_000_000.0)

    assert json.loads(encode_body(geolocation_line("sha256:g", [database]))) == {
        "line": "geolocation",
        "version": "sha256:g",
        "databases": [
            {"use": "asn", "type": "GeoLite2-ASN", "built": "2023-11-14T22:13:20.000Z", "digest": "sha256:d"}
        ],
    }


PLACES = {
    "a plain one": ("https://idp.example/jwks.json", "https://idp.example/jwks.json"),
    "user and password": ("https://zqx:zqx@idp.example:8443/jwks.json", "https://idp.example:8443/jwks.json"),
    "a query": ("https://idp.example/jwks.json?key=zqx", "https://idp.example/jwks.json"),
    "a query without a path": ("https://idp.example?key=z@x/zqx", "https://idp.example"),
    "a fragment": ("https://idp.example/jwks.json#zqx", "https://idp.example/jwks.json"),
    "an at sign in the path": ("https://idp.example/@team/jwks.json", "https://idp.example/@team/jwks.json"),
    "two at signs": ("https://zqx@zqx@idp.example/", "https://idp.example/"),
    "a file": ("file:keys/corp.json", "file:keys/corp.json"),
}


@pytest.mark.parametrize(("url", "recorded"), PLACES.values(), ids=PLACES.keys())
def test_a_place_is_recorded_without_what_may_be_a_secret_there(url: str, recorded: str) -> None:
    assert render_place(url) == recorded


# By which key people are named.

MONTHS = KeyRing(b"s" * 32, {"2021-03": b"m" * 32, "2021-04": b"a" * 32})
APRIL = parse_instant("2021-04-01T00:00:00+00:00")
BEHIND = Person(principal="corp|sato", issuer="corp", kind="employee", affiliate="ly", id="sato")


def named(recorder: Recorder, now: float, **changes: Any) -> tuple[str, str, str]:
    """Return caller, person and subject as a line of that moment names them."""
    caller = msgspec.structs.replace(CALLER, on_behalf_of=BEHIND)
    line = decide(an_outcome(now=now, **{"caller": caller, **changes}), recorder)
    behind = line.caller.on_behalf_of
    assert behind is not None
    return line.caller.who, behind.who, line.subject.id


def test_people_are_named_by_the_key_of_the_month_in_which_they_asked() -> None:
    recorder = Recorder(MONTHS, "b" * 64)
    caller = msgspec.structs.replace(CALLER, on_behalf_of=BEHIND)
    for now, month in ((NOW, "2021-03"), (APRIL - 0.001, "2021-03"), (APRIL, "2021-04"), (APRIL - 1, "2021-03")):
        names = MONTHS.names[month]
        expected = names.of_caller("corp|wang"), names.of_caller("corp|sato"), names.of_subject("users", "42")
        assert named(recorder, now, caller=caller) == expected, "also of a caller that was rendered before"


def test_no_record_names_a_subject_as_grants_do() -> None:
    recorder = Recorder(MONTHS, "b" * 64)
    subject = Subject(country="JP", id="42", reference=recorder.name_subject("users", "42"))
    assert named(recorder, NOW, subject=subject)[2] != subject.reference
    assert subject.reference == MONTHS.subjects.of_subject("users", "42")


def test_callers_can_be_named_in_clear_and_subjects_cannot() -> None:
    recorder = Recorder(MONTHS, "b" * 64, callers="clear")
    whose = MONTHS.names["2021-03"].of_subject("users", "42")
    assert named(recorder, NOW) == ("corp|wang", "corp|sato", whose)
    nobody = decide(an_outcome(caller=UNAUTHENTICATED), recorder)
    assert nobody.caller.who == ""


# What is kept of one line serves only lines that have it in common (LESSONS 1.15).

MONTHLY = KeyRing(bytes(32), {"2021-03": b"3" * 32, "2021-05": b"5" * 32})
OTHER_RULE = AppliedRule("other", Effect.DENY, Certainty.MATCHED, "A title")
COMMON: dict[str, dict[str, Any]] = {
    "another decision": {"decision": Decision(Effect.DENY, Reason.RULE_DENIES, OTHER_RULE, (OTHER_RULE,), ())},
    "no decision": {"decision": None},
    "another caller": {"caller": msgspec.structs.replace(CALLER, principal="corp|li")},
    "another origin": {"origin": Origin(ip="203.0.113.25", country="JP", source=CountrySource.DATABASE)},
    "another route": {"route": msgspec.structs.replace(ROUTE, id="other")},
    "no route": {"route": None, "shape": "/v1/*"},
    "another country": {"subject": Subject(country="KR", id="42")},
    "a country that is not known": {"subject": Subject(id="42")},
    "another data subject": {"subject": Subject(country="JP", id="43")},
    "a data subject that is not known": {"subject": Subject(country="JP")},
    "a purpose": {"purpose": "audit"},
    "another method": {"method": "HEAD"},
    "another effect": {"effect": Effect.ALLOW},
    "another reason": {"reason": Reason.LEDGER_UNAVAILABLE},
    "what was only observed": {"enforced": False},
    "another status": {"status": 503},
    "another id": {"request_id": "01F1G2V3W4X5Y6Z7A8B9C0D1E3"},
    "a trace": {"trace": "0af7651916cd43dd8448eb211c80319c"},
    "another month": {"now": NOW + 40 * 86400},
}


@pytest.mark.parametrize("changes", COMMON.values(), ids=COMMON)
def test_a_line_is_its_own_after_one_that_differs_in_one_thing(changes: dict[str, Any]) -> None:
    first = an_outcome()
    other = msgspec.structs.replace(first, **changes)  # all else is the very same
    recorder = Recorder(MONTHLY, "b" * 64, "geo")
    written = recorder.decision(first, released=False)
    for outcome in (other, first, other):
        for released in (False, True):
            fresh = Recorder(MONTHLY, "b" * 64, "geo").decision(outcome, released=released)
            assert recorder.decision(outcome, released=released) == fresh
    assert recorder.decision(other, released=False).body != written.body


def test_what_lines_have_in_common_is_bounded_and_stays_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "_KEPT_TOGETHER", 3)
    recorder = Recorder(RING, "b" * 64)
    for status in (*range(200, 210), *range(200, 210)):
        line = recorder.decision(an_outcome(status=status), released=False)
        assert line == Recorder(RING, "b" * 64).decision(an_outcome(status=status), released=False)
        assert len(recorder._common) <= 3
