# SPDX-License-Identifier: Apache-2.0
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.bundle.guess import (
    MAX_ANSWER_NODES,
    MAX_FIELDS,
    Reader,
    UnresolvedError,
    clean,
    find_pattern,
    guess_category,
    is_country,
    is_id,
    split_words,
    take_pattern,
)

TEXT = {"type": "string"}
FUZZ = settings(max_examples=150)


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("name", "user.name"),
        ("firstName", "user.name"),
        ("family_name", "user.name"),
        ("nameKana", "user.name"),
        ("customerName", "user.name"),
        ("company_name", None),
        ("fileName", None),
        ("userName", "user.account.username"),
        ("phone", "user.contact.phone_number"),
        ("mobilePhones", "user.contact.phone_number"),
        ("TEL", "user.contact.phone_number"),
        ("email_address", "user.contact.email"),
        ("ipAddress", "user.device.ip_address"),
        ("addresses", "user.contact.postal_address"),
        ("zipCode", "user.contact.postal_address"),
        ("dateOfBirth", "user.birth_date"),
        ("birthday", "user.birth_date"),
        ("id", "user.unique_id"),
        ("userId", "user.unique_id"),
        ("reporter_id", "user.unique_id"),
        ("order_id", None),
        ("status", None),
        ("\u540d\u524d", None),
        ("", None),
    ],
)
def test_a_category_is_guessed_by_name(name: str, category: str | None) -> None:
    assert guess_category(name) == category


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("getUserById", "get user by id"),
        ("getURLPath", "get url path"),
        ("users_list-all.v2", "users list all v2"),
        ("OAuth2Token", "o auth2 token"),
        ("\u30e6\u30fc\u30b6\u30fc", ""),
    ],
)
def test_words(text: str, words: str) -> None:
    assert " ".join(split_words(text)) == words


def test_countries_and_ids_among_parameters() -> None:
    assert [name for name in ("country", "country_code", "cc", "id", "county") if is_country(name)] == [
        "country",
        "country_code",
        "cc",
    ]
    assert [name for name in ("id", "user_id", "user", "uuid", "country", "paid") if is_id(name)] == [
        "id",
        "user_id",
        "user",
        "uuid",
    ]


PATTERNS: list[Any] = [
    pytest.param({"type": "integer"}, "0|[1-9][0-9]{0,18}", id="an integer"),
    pytest.param({"type": ["integer", "null"]}, "0|[1-9][0-9]{0,18}", id="an integer of 3.1, or null"),
    pytest.param({"type": ["integer", "string"]}, None, id="one of two types"),
    pytest.param({"type": [["integer"]]}, None, id="a list for a type"),
    pytest.param({"type": "string"}, None, id="a text"),
    pytest.param({"enum": ["jp", "tw.x"]}, r"jp|tw\.x", id="an enum, escaped"),
    pytest.param({"enum": ["a b"]}, None, id="an enum of what no segment holds"),
    pytest.param({"enum": [["x"]]}, None, id="an enum of lists"),
    pytest.param({"enum": []}, None, id="an empty enum"),
    pytest.param({"const": "jp"}, "jp", id="a constant"),
    pytest.param({"enum": [f"x{n}" for n in range(1000)]}, None, id="an enum without end"),
    pytest.param({"pattern": "^[a-z]{2}$"}, "[a-z]{2}", id="an anchored pattern"),
    pytest.param({"type": "boolean"}, "true|false", id="a boolean"),
    pytest.param({"type": {}, "format": []}, None, id="nothing that makes sense"),
]


@pytest.mark.parametrize(("schema", "pattern"), PATTERNS)
def test_the_pattern_of_a_parameter(schema: dict[str, Any], pattern: str | None) -> None:
    assert find_pattern(schema) == pattern


def test_a_uuid_is_one() -> None:
    pattern = find_pattern({"type": "string", "format": "uuid"})
    assert pattern is not None
    assert re.fullmatch(pattern, "123e4567-e89b-12d3-a456-426614174000")
    assert not re.fullmatch(pattern, "123E4567-e89b-12d3-a456-426614174000"), "one spelling alone"


@pytest.mark.parametrize(
    "pattern",
    [
        "[a-z]{2}", "^[a-z]{2}", "[a-z]{2}$", "^$", "", "^", "^a|b$", "^(a+)+$", "^(?:a)$", "^(?=a)a$", r"^(a)\1$",
        "^.*$", "^a+?$", "^a*a*a*$", "^a{0,9}a{0,9}a{0,9}$", "^a{999}$", "^[z-a]$", "^[[a]]$", "^[a--b]$", "^[a&&b]$",
        r"^\p{L}$", r"^[a\]$", "^a{2,1}$", "^[]$", f"^{'a' * 600}$", "^\u3042$", "^a\n$", "^a$$", "^^a$",
    ],
)  # fmt: skip
def test_a_pattern_that_is_not_anchored_or_not_simple_is_not_taken(pattern: str) -> None:
    assert take_pattern(pattern) is None


@pytest.mark.parametrize(
    "pattern", ["^[A-Z]{2}[0-9]+$", r"^u\d{1,12}$", r"^[\w.-]+$", "^[^a-z]*x?$", "^[a-z]+-[0-9]+$"]
)
def test_a_simple_pattern_is_taken_without_its_anchors(pattern: str) -> None:
    assert take_pattern(pattern) == pattern[1:-1]


@FUZZ
@given(st.text("^$[](){}|\\az09-+*?.,dw&~", max_size=30).map(lambda text: f"^{text}$"))
def test_whatever_is_taken_compiles_without_a_warning(pattern: str) -> None:
    taken = take_pattern(pattern)
    if taken is not None:
        re.compile(taken)


@FUZZ
@given(st.text())
def test_a_cleaned_text_is_one_line_that_can_be_seen(text: str) -> None:
    assert clean(text).isprintable()
    assert len(clean(text)) <= 201


def read(schema: Any, **components: Any) -> tuple[dict[str, str], str]:
    reader = Reader({"components": {"schemas": components}})
    content = {"application/json": {"schema": schema}}
    answer = reader.read_answer({"responses": {"200": {"content": content}}})
    return dict(answer.fields), "\n".join(answer.comments)


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


NAMED = {"$.name": "user.name"}
ANSWERS: list[Any] = [
    pytest.param(an_object(name=TEXT), NAMED, "", id="a property"),
    pytest.param(an_object(name=TEXT, status=TEXT), NAMED, "Not guessed: $.status", id="one that nobody guesses"),
    pytest.param(
        {"type": "array", "items": an_object(phone=TEXT)}, {"$[*].phone": "user.contact.phone_number"}, "", id="a list"
    ),
    pytest.param(
        an_object(emails={"type": "array", "items": TEXT}), {"$.emails[*]": "user.contact.email"}, "", id="texts"
    ),
    pytest.param({"allOf": [an_object(name=TEXT), an_object(x=TEXT)]}, NAMED, "$.x", id="all of two"),
    pytest.param({"oneOf": [an_object(name=TEXT), an_object(name=TEXT)]}, NAMED, "", id="one of two"),
    pytest.param(
        an_object(address=an_object(line=TEXT)), {"$.address.line": "user.contact.postal_address"}, "", id="below"
    ),
    pytest.param(
        {"oneOf": [an_object(name=TEXT), {"type": "array", "items": an_object(name=TEXT)}]},
        {},
        "$[*].name may stand in place of $.name",
        id="one or a list of them",
    ),
    pytest.param(
        an_object(name={"oneOf": [TEXT, an_object(first=TEXT)]}),
        {},
        "$.name.first may stand in place of $.name",
        id="a text or an object",
    ),
    pytest.param(an_object(x=TEXT), {}, "nothing in its answer was guessed", id="nothing guessed"),
    pytest.param(an_object(name=TEXT, x={"type": "object"}), {}, "$.x may hold anything", id="a free object"),
    pytest.param(an_object(name=TEXT, x={}), {}, "$.x may hold anything", id="an empty schema"),
    pytest.param({**an_object(name=TEXT), "additionalProperties": TEXT}, {}, "$ may hold anything", id="free keys"),
    pytest.param({**an_object(name=TEXT), "additionalProperties": "false"}, NAMED, "", id="no other keys"),
    pytest.param(an_object(**{"name": TEXT, "first-name": TEXT}), {}, "cannot be said", id="no JSONPath"),
    pytest.param(an_object(name=TEXT, x="true"), {}, "no schema", id="a schema of 3.1 that allows anything"),
    pytest.param(an_object(name=TEXT, x={"$ref": "other.yaml#/X"}), {}, "leads out", id="a reference elsewhere"),
    pytest.param(an_object(name=TEXT, x=ref("Nobody")), {}, "leads nowhere", id="a reference to nothing"),
    pytest.param(an_object(name=TEXT, x={"$ref": ["x"]}), {}, "leads out", id="a list for a reference"),
    pytest.param(TEXT, {}, "single value", id="a single value"),
    pytest.param(None, {}, "no schema", id="no schema"),
]


@pytest.mark.parametrize(("schema", "fields", "words"), ANSWERS)
def test_the_fields_of_an_answer(schema: Any, fields: dict[str, str], words: str) -> None:
    found, comments = read(schema)
    assert found == fields
    assert words in comments
    assert bool(words) == bool(comments)


def test_what_is_left_open_still_shows_the_guesses() -> None:
    _, comments = read(an_object(name=TEXT, x={}))
    assert "guessed: $.name: user.name" in comments


def test_a_circle_ends_and_hides_nothing() -> None:
    user = an_object(name=TEXT, friends={"type": "array", "items": ref("User")})
    assert read(ref("User"), User=user) == (NAMED, "")


def test_references_that_multiply_end() -> None:
    schemas = {f"S{n}": an_object(**{f"p{m}": ref(f"S{n + 1}") for m in range(10)}) for n in range(20)}
    fields, comments = read(ref("S0"), **schemas, S20=TEXT)
    assert not fields
    assert "too large" in comments


def test_what_is_too_wide_declares_no_fields() -> None:
    assert not read(an_object(**{f"name{n}": {"type": "object"} for n in range(MAX_ANSWER_NODES + 1)}))[0]
    fields, comments = read(an_object(**{f"email_{n}": TEXT for n in range(MAX_FIELDS + 1)}))
    assert not fields
    assert "more than" in comments


def test_an_answer_of_another_kind_is_a_gap() -> None:
    content = {"application/json": {"schema": an_object(name=TEXT)}, "text/csv\n": {}}
    answer = Reader({}).read_answer({"responses": {"2XX": {"content": content}}})
    assert not answer.fields
    assert answer.comments[0].endswith("there are answers of text/csv.")


def test_failures_are_no_answers() -> None:
    content = {"application/json": {"schema": an_object(name=TEXT)}}
    assert not Reader({}).read_answer({"responses": {"404": {"content": content}, "default": {}}}).fields


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}}, "circle"),
        ({"a": {"$ref": "#/a"}}, "circle"),
        ({"a": {"$ref": "#/x/y"}}, "nowhere"),
        ({"a": {"$ref": "https://example.com\n/x"}}, "leads out"),
        ({"a": {"$ref": "#/l/9"}, "l": ["x"]}, "nowhere"),
    ],
)
def test_a_reference_that_cannot_be_followed(document: dict[str, Any], words: str) -> None:
    with pytest.raises(UnresolvedError, match=words) as error:
        Reader(document).resolve(document["a"])
    assert str(error.value).isprintable()


def test_a_reference_is_followed_through_escapes_and_lists() -> None:
    document = {"paths": {"/a~b": [{"x": "y"}]}}
    assert Reader(document).resolve({"$ref": "#/paths/~1a~0b/0/x"})[0] == "y"


def test_an_operations_parameters_come_before_its_paths() -> None:
    item = {"parameters": [{"name": "a", "in": "path", "schema": {"type": "integer"}}, {"$ref": "x"}]}
    operation = {"parameters": [{"name": "a", "in": "path", "schema": {"pattern": "(a+)+"}}, "x"]}
    patterns, comments = Reader({}).find_patterns(item, {}, {"a": "a"})
    assert patterns == {"a": "0|[1-9][0-9]{0,18}"}
    assert "was not read" in comments[0]
    patterns, comments = Reader({}).find_patterns(item, operation, {"ours": "a"})
    assert not patterns
    assert "{ours}" in comments[1]
