# SPDX-License-Identifier: Apache-2.0
import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import proxy.bundle.check
from proxy.bundle.json_schema import FILES, PolicyFile, make_schema
from proxy.bundle.manifest import ONLY_TABLES, REGISTERS
from proxy.bundle.read import parse_document
from proxy.cli import main
from proxy.cli.init import FILES as INITIAL
from proxy.policy.attributes import ATTRIBUTES
from tests.support.bundle_folder import REFERENCE, SMALL, problems_of, write_bundle

VALIDATORS: Final = {what: Draft202012Validator(make_schema(what)) for what in FILES}

PLAIN: Final = (
    (re.compile(r"|~|null|Null|NULL"), lambda _text: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _text: float("nan")),
)
"""YAML 1.2.2, 10.3.2: what the core schema, and so an editor, takes a plain scalar for."""


def as_editor(text: str) -> Any:
    """Read YAML as an editor does."""
    return _read(yaml.compose(text, Loader=yaml.CSafeLoader))


def _read(node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {key.value: _read(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_read(value) for value in node.value]
    guess = next((make for pattern, make in PLAIN if pattern.fullmatch(node.value)), None)
    return node.value if node.style or guess is None else guess(node.value)


def complaints(text: str, what: str = "files") -> list[str]:
    """Return what an editor underlines."""
    return [f"{error.json_path}: {error.message}" for error in VALIDATORS[what].iter_errors(as_editor(text))]


def kind_of(file: str) -> str:
    return {"bundle.yaml": "manifest", "pack.yaml": "pack"}.get(Path(file).name, "files")


FOLDERS: Final[Mapping[str, Mapping[str, str]]] = {
    "reference": {
        str(path.relative_to(REFERENCE)): path.read_text(encoding="utf-8") for path in sorted(REFERENCE.rglob("*.yaml"))
    },
    "init": INITIAL,
    "small": SMALL,
}


@pytest.mark.parametrize("what", FILES)
def test_a_schema_is_a_schema(what: str) -> None:
    schema = make_schema(what)
    Draft202012Validator.check_schema(schema)
    assert {"$schema", "title", "description"} <= schema.keys()
    assert "$id" not in schema
    references = set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(schema)))
    assert references == schema["$defs"].keys()


@pytest.mark.parametrize(
    ("file", "text"),
    [pytest.param(file, text, id=f"{name}-{file}") for name, files in FOLDERS.items() for file, text in files.items()],
)
def test_files_that_load_are_right(file: str, text: str) -> None:
    assert complaints(text, kind_of(file)) == []


def test_no_register_is_forgotten() -> None:
    assert PolicyFile.model_fields.keys() == set(REGISTERS) - ONLY_TABLES
    taken = re.findall(r'\.take\("(\w+)", (\w+)\)', inspect.getsource(proxy.bundle.check))
    assert len(taken) >= len(set(REGISTERS) - ONLY_TABLES) - len({"country_sets", "trusted_proxies"})
    properties = make_schema("files")["properties"]
    for register, model in taken:
        assert properties[register]["items"] == {"$ref": f"#/$defs/{model}"}


def test_every_attribute_can_be_asked_for_and_says_where_it_comes_from() -> None:
    properties = make_schema("files")["$defs"]["conditions"]["properties"]
    assert properties.keys() == {*ATTRIBUTES, "expr", "always"}
    for name, attribute in ATTRIBUTES.items():
        assert attribute.source in properties[name]["description"]


def test_what_fields_mean_is_shown() -> None:
    rule = make_schema("files")["$defs"]["RuleEntry"]["properties"]
    assert rule["liftable"]["description"] == "Whether a grant may lift it."
    assert rule["liftable"]["default"] is False


def rule(when: str, more: str = "") -> str:
    return f"rules: [{{id: a, effect: deny, when: {{{when}}}{more}}}]"


RIGHT: Final = {
    "what an issuer may say of its tokens": "issuers: [{id: a, operated_by: b, issuer: 'https://c', audience: [d], "
    "algorithms: [ES256], may_assert: {affiliate: any}, attributes: {affiliate: x}, leeway: 1m, max_age: 8h, "
    "token_type: at+jwt, token_place: {header: X-T}, sender_constrained: certificate, jwks_hosts: [k], "
    "discovery: true, introspection: {url: 'https://c/i', client_id: d, secret: {secret: env:E}, cache: 10s}}]",
    "several types of tokens, at their ordinary place": "issuers: [{id: a, operated_by: b, issuer: c, audience: [d], "
    "jwks: 'file:k', algorithms: [ES256], may_assert: {affiliate: any}, attributes: {affiliate: x}, "
    "token_type: [jwt, at+jwt], token_place: authorization}]",
    "a revoked token": "revoked: [{issuer: a, jti: b, reason: c, since: 2027-01-01T00:00:00Z}]",
    "norway": rule("origin.country: NO"),
    "a word that YAML takes for a number": rule("caller.id: 42"),
    "null is a transform": rule("always: true", ", effect: mask, transforms: {user.name: null}").replace(
        "effect: deny, ", ""
    ),
    "ties by kind": rule("caller.countries: {any: $china, by: [employer, control.majority]}"),
    "control": rule("caller.control.majority.countries: {any: [CN, $more]}"),
    "owners": rule("caller.control.a.b.owners: {has_all: [ly]}"),
    "a claim": rule("caller.claims.desk: {glob: [a*, b*]}"),
    "time": rule("time: {between: ['2027-01-01T00:00:00Z', 2027-01-02T00:00:00+09:00]}"),
    "expr": rule("expr: subject.id == caller.id"),
    "quoted": rule("always: 'true'", ", reopens: 'true', review_by: '2027-01-01'"),
    "no subject": "apis: [{id: a, upstream: {url: 'http://a:1'}, routes: [{id: b, methods: [GET], path: /, "
    "action: read, subject: none, reason: x, owner: y, max_duration: 2h}]}]",
    "a body's size as a number and as a text": "apis: [{id: a, assertion: off, upstream: {url: 'http://a:1'}, "
    "routes: [{id: b, methods: [GET], path: /, action: read, subject: none, reason: x, owner: y, max_body_bytes: 0, "
    "upgrade: [websocket]}, {id: c, methods: [PUT], path: /, action: update, subject: none, reason: x, owner: y, "
    "max_body_bytes: '1024'}]}]",
    "a search, with everything that may leave of it": "apis: [{id: a, upstreams: {JP: {url: 'http://a:1'}, NO: {url: "
    "'http://b:1'}, default: {url: 'http://c:1', hosted_in: KR}}, routes: [{id: b, methods: [GET], path: /, "
    "action: read, subject: {records: '$.users[*]', country: '$.country', id: key}, answers: ndjson, "
    "fields: {$.name: user.name, $.phone: {category: user.contact, keep: 4}}, undeclared: refuse, on_denied: refuse, "
    "envelope: {$.page: keep, $.total: total, $.next: {cursor: after}}, searchable_by: [limit, after, 1, null], "
    "answer_headers: [X-Version]}]}]",
    "every place of a subject": "apis: [{id: a, upstream: {url: 'http://a:1'}, routes: ["
    "{id: b, methods: [POST], path: /b, action: read, reads_only: {by: x, review_by: 2027-06-30}, subject: {country: "
    "{form: c, format: name}, id: {form: ids, split: ','}, confirm: $.country}}, "
    "{id: c, methods: [GET], path: /c, action: read, subject: {country: {answer_header: X-C, format: alpha3}}}, "
    "{id: d, methods: [PUT], path: /d, action: update, subject: {id: {body: '$.id'}, lookup: staff}}, "
    "{id: e, methods: [GET], path: /e, action: read, subject: {country: {header: X-C}, id: {query: id, split: ~}, "
    "confirm: {answer_header: X-D}}}]}]",
    "any share": "affiliates: [{id: a, country: JP, owners: [{id: 7, share: 33.5}, {id: b-7, share: '1'}]}]",
    "somebody behind": "fixtures: [{id: a, caller: {kind: service, on_behalf_of: {kind: employee, residence: JP}}}]",
    "sets of sets": "country_sets: {a: [$b, NO], b: [JP]}",
}

WRONG: Final = {
    "an unknown place of a country": "apis: [{id: a, upstream: {url: 'http://a:1'}, routes: [{id: b, methods: [GET], "
    "path: /, action: read, subject: {country: {querry: c}}}]}]",
    "a form of a country that nobody writes": "apis: [{id: a, upstream: {url: 'http://a:1'}, routes: [{id: b, "
    "methods: [GET], path: /, action: read, subject: {country: {query: c, format: numeric}}}]}]",
    "a member that is neither kept nor counted": "apis: [{id: a, upstream: {url: 'http://a:1'}, routes: [{id: b, "
    "methods: [GET], path: /, action: read, subject: {country: $.c}, envelope: {$.page: drop}}]}]",
    "an upstream for no country": "apis: [{id: a, upstreams: {japan: {url: 'http://a:1'}}, routes: [{id: b, "
    "methods: [GET], path: /, action: read, subject: none}]}]",
    "a body's size with a unit": "apis: [{id: a, upstream: {url: 'http://a:1'}, routes: [{id: b, methods: [GET], "
    "path: /, action: read, subject: none, reason: x, owner: y, max_body_bytes: 1MiB}]}]",
    "a tunnel of a protocol that nobody knows": "apis: [{id: a, upstream: {url: 'http://a:1'}, routes: [{id: b, "
    "methods: [GET], path: /, action: read, subject: none, reason: x, owner: y, upgrade: [h2c]}]}]",
    "an assertion of another kind": "apis: [{id: a, assertion: signed, upstream: {url: 'http://a:1'}, routes: [{id: b, "
    "methods: [GET], path: /, action: read, subject: none, reason: x, owner: y}]}]",
    "somebody behind somebody behind": "fixtures: [{id: a, caller: {on_behalf_of: {on_behalf_of: {kind: employee}}}}]",
    "somebody behind who is a name": "fixtures: [{id: a, caller: {on_behalf_of: alice}}]",
    "a token in the query": "issuers: [{id: a, operated_by: b, issuer: c, audience: [d], jwks: 'file:k', "
    "algorithms: [ES256], may_assert: {affiliate: any}, attributes: {affiliate: x}, token_place: query}]",
    "a token's cookie with a blank": "issuers: [{id: a, operated_by: b, issuer: c, audience: [d], jwks: 'file:k', "
    "algorithms: [ES256], may_assert: {affiliate: any}, attributes: {affiliate: x}, token_place: {cookie: a b}}]",
    "a secret written out": "issuers: [{id: a, operated_by: b, issuer: c, audience: [d], jwks: 'file:k', "
    "algorithms: [ES256], may_assert: {affiliate: any}, attributes: {affiliate: x}, "
    "introspection: {url: 'https://c/i', client_id: d, secret: hunter2}}]",
    "a revocation without a reason": "revoked: [{issuer: a, jti: b, since: 2027-01-01T00:00:00Z}]",
    "no register": "rulez: []",
    "a list": "[]",
    "an unknown key": rule("always: true", ", efect: deny"),
    "no id": "rules: [{effect: deny, when: {always: true}}]",
    "an empty id": rule("always: true").replace("id: a", "id: ''"),
    "an id in capitals": rule("always: true").replace("id: a", "id: JP"),
    "a reserved id": rule("always: true").replace("id: a", "id: default"),
    "no effect of ours": rule("always: true").replace("deny", "refuse"),
    "an empty when": rule(""),
    "always, and more": rule("always: true, action: read"),
    "never": rule("always: false"),
    "a misspelt attribute": rule("caller.afiliate: ly"),
    "an attribute of later": rule("origin.asn: 1"),
    "no control": rule("caller.control.majority.paragraph: x"),
    "a wrong matcher": rule("caller.groups: {not: a}"),
    "a glob of countries": rule("origin.country: {glob: J*}"),
    "a value for a set": rule("caller.groups: a"),
    "a text for a list": rule("caller.groups: {any: a}"),
    "a set for texts": rule("caller.groups: {any: [$china]}"),
    "two matchers": rule("caller.groups: {any: [a], none: [b]}"),
    "two matchers of ties": rule("caller.countries: {any: [CN], none: [JP]}"),
    "no matcher": rule("caller.countries: {by: [employer]}"),
    "by, of no ties": rule("caller.groups: {any: [a], by: [employer]}"),
    "no kind of tie": rule("caller.countries: {any: [CN], by: [employr]}"),
    "an empty list": rule("caller.groups: {any: []}"),
    "no country": rule("origin.country: UK"),
    "no country in a list": rule("origin.country: {any: [JP, JPN]}"),
    "no country in a set": "country_sets: {china: [CN, CHN]}",
    "an empty set": "country_sets: {china: []}",
    "no kind": rule("caller.kind: {any: [employe]}"),
    "no action": rule("action: reed"),
    "no category": rule("resource.data: {any: [User]}"),
    "no address": rule("origin.ip: {cidr: office}"),
    "an instant without offset": rule("time: {lt: 2027-01-01T00:00:00}"),
    "one end": rule("time: {between: [2027-01-01T00:00:00Z]}"),
    "a flag": rule("always: true", ", reopens: yes"),
    "a date": rule("always: true", ", review_by: 2027-1-1"),
    "a wrong unless": rule("always: true", ", unless: [{caller.afiliate: ly}]"),
    "a draft": "affiliates: [{id: a, country: JP, name: FILL-IN}]",
    "no share": "affiliates: [{id: a, country: JP, owners: [{id: b, share: 0}]}]",
    "more than all": "affiliates: [{id: a, country: JP, owners: [{id: b, share: 101}]}]",
    "one approver": "grants: [{id: a, lifts: [b], when: {always: true}, subjects: [x], approved_by: ['a|b'], "
    "from: 2027-01-01T00:00:00Z, until: 2027-01-02T00:00:00Z}]",
    "a misspelt fact": "tests: [{name: a, given: {caller: {afiliate: ly}, request: GET /}, expect: {effect: deny}}]",
    "a fact of no country": "fixtures: [{id: a, caller: {residence: UK}}]",
    "groups of one": "fixtures: [{id: a, caller: {groups: a}}]",
    "a purpose of any": "purposes: [{id: a, may_claim: {caller.goups: {any: [b]}}}]",
    "a proxy by name": "trusted_proxies: [edge]",
    "an issuer's attribute": "issuers: [{id: a, operated_by: b, issuer: c, audience: [d], jwks: 'file:k', "
    "algorithms: [ES256], may_assert: {affiliate: any}, attributes: {afiliate: x}}]",
}


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
def test_what_is_right(text: str) -> None:
    assert complaints(text) == []


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_is_wrong(text: str) -> None:
    assert complaints(text) != []


URGENT: Final = rule("caller.id: mallory")


def test_emergency_denies_deny() -> None:
    assert complaints(URGENT, "emergency") == []
    for text in (URGENT.replace("deny", "allow"), URGENT.replace("effect", "mode: shadow, effect"), "grants: []", "{}"):
        assert complaints(text, "emergency") != []


def test_a_manifest_says_what_files_hold() -> None:
    pack = "language: 1\npack: p\nfiles: {a.yaml: [rules]}"
    assert complaints(pack, "pack") == []
    assert complaints(pack.replace("rules", "apis"), "pack") != []
    assert complaints(pack.replace("pack", "bundle") + "\nties: [employer]\ninclude: {p: packs/p}", "manifest") == []
    for text in (pack, pack.replace("pack", "bundle") + "\nties: [subcontractor]", "language: 2"):
        assert complaints(text, "manifest") != []


@pytest.mark.parametrize("arguments", [[], *([what] for what in FILES)], ids=["default", *FILES])
def test_the_verb_prints_it(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(["schema", *arguments]) == 0
    assert json.loads(capsys.readouterr().out) == make_schema(*arguments or ["files"])


WORDS: Final = (
    "null", "true", "false", "~", "1", "007", "0x1f", "1.50", "1e3", "2021", "NO", "no", "JP", "$china", "any", "none",
    "deny", "allow", "mask", "low", "shadow", "strip", "2027-06-30", "2027-06-30T00:00:00Z", "50", "100.0", "GET",
    "a b", "contractor", "employer", "export", "GET /v1/jp/users/42", "10.0.0.0/8", "::1", "15m", "FILL-IN",
)  # fmt: skip
KEYS: Final = (
    "title", "name", "owner", "severity", "mode", "liftable", "reopens", "references", "review_by", "host", "at",
    "case", "purpose", "caller.id", "caller.groups", "case", "origin.country", "caller.kind", "origin", "reason",
    "certainty", "home", "roles", "works_for", "proxies", "comparator", "default", "max_duration", "unless", "groups",
    "residence", "id", "always", "claims.desk", "authorization", "hosts", "people", "owners_complete", "bundle",
    "subject", "assertion", "max_body_bytes", "upgrade",
)  # fmt: skip
VALUES: Final = st.one_of(
    st.sampled_from(WORDS),
    st.lists(st.sampled_from(WORDS), max_size=2),
    st.dictionaries(
        st.sampled_from(("any", "none", "not", "exists", "glob", "only")), st.sampled_from(WORDS), max_size=1
    ),
    st.builds(lambda word: {"any": [word]}, st.sampled_from(WORDS)),
)
PLACES: Final[list[tuple[str, str]]] = [
    (name, file) for name in ("reference", "small") for file in FOLDERS[name] if file.endswith(".yaml")
]


def _spots(value: Any) -> list[tuple[Any, Any]]:
    """Return every place inside a value, as what holds it and where in that."""
    steps = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [spot for step in steps for spot in ((value, step), *_spots(value[step]))]


def _write(value: Any, *, quoted: bool) -> str:
    """Write a value as one line of YAML, plain where that can be."""
    if isinstance(value, dict):
        inside = (f"{json.dumps(key)}: {_write(each, quoted=quoted)}" for key, each in value.items())
        return f"{{{', '.join(inside)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_write(each, quoted=quoted) for each in value)}]"
    is_plain = not quoted and re.fullmatch(r"[A-Za-z0-9$~/.+-]+", value)
    return str(value) if is_plain else json.dumps(value)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_loads_is_right_in_an_editor(tmp_path: Path, data: st.DataObject) -> None:
    name, file = data.draw(st.sampled_from(PLACES))
    document, _ = parse_document(FOLDERS[name][file].encode(), file)
    assert document is not None
    mutated = json.loads(json.dumps(document.value))
    holder, step = data.draw(st.sampled_from(_spots(mutated)))
    change = data.draw(st.sampled_from(["change", "change", "add", "add", "drop"]))
    if change == "drop":
        del holder[step]
    elif change == "add" and isinstance(holder, dict):
        holder[data.draw(st.sampled_from(KEYS))] = data.draw(VALUES)
    else:
        holder[step] = data.draw(VALUES)
    text = _write(mutated, quoted=data.draw(st.booleans()))
    files = {**FOLDERS[name], file: text}
    if not problems_of(write_bundle(tmp_path / name, files)):
        assert complaints(text, kind_of(file)) == [], text
