# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.bundle.check import load_bundle
from proxy.model.country import CountryForm
from proxy.model.json_path import EVERY
from proxy.subject.lookups import make_columns, relocate
from proxy.subject.register import (
    Asked,
    HttpQuestion,
    Lookup,
    PostgresqlQuery,
    Prefixes,
    Ranges,
    RedisKey,
    SqliteQuery,
)
from tests.support.bundle_folder import SMALL, edited, problems_of, write_bundle

LISTED = ("bundle.yaml", "files:\n", "files:\n  lookups.yaml: [lookups]\n")
QUERY = "SELECT id, country FROM users WHERE id IN ({ids})"
SQLITE = f'{{id: crm, kind: sqlite, file: /var/crm.db, query: "{QUERY}"}}'
ARRAY = QUERY.replace("IN ({ids})", "= ANY({ids})")
PG = f'{{id: crm, kind: postgresql, url: "postgresql://crm.internal/users", query: "{ARRAY}"}}'
REDIS = '{id: crm, kind: redis, url: "redis://c.internal", key: "user:{id}:country"}'
HTTP = '{id: crm, kind: http, url: "https://d.internal/users/{id}", select: "$.country"}'
BATCH = (
    '{id: crm, kind: http, url: "https://d.internal/users?ids={ids}", records: "$.users[*]", record_id: "$.id",'
    ' select: "$.country"}'
)
PREFIXES = '{id: crm, kind: prefixes, prefixes: {"81": JP, "886": [TW, JP]}}'
RANGES = "{id: crm, kind: ranges, ranges: [{from: 0, to: 99, country: JP}, {from: 100, to: 199, country: [TW]}]}"


def files(*entries: str) -> dict[str, str]:
    text = "lookups:\n" + "".join(f"  - {entry}\n" for entry in entries)
    return {**edited(LISTED), "lookups.yaml": text}


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Lookup]:
    def load_one(entry: str) -> Lookup:
        folder = write_bundle(tmp_path / "policies", files(entry))
        return load_bundle(folder, None, tmp_path / "registers").lookups["crm"]

    return load_one


Load = Callable[[str], Lookup]


def with_(entry: str, *more: str) -> str:
    return f"{entry[:-1]}, {', '.join(more)}}}"


MANNER: dict[str, Any] = {
    "id": "crm",
    "form": CountryForm.ALPHA2,
    "fresh_seconds": 600,
    "fresh_not_found_seconds": 30,
    "timeout_seconds": 0.5,
    "batch": 200,
    "at_once": 8,
    "kept": 100_000,
}
SELECT = ("country",)


@pytest.mark.parametrize(
    ("entry", "lookup"),
    [
        pytest.param(PREFIXES, Prefixes({"81": ("JP",), "886": ("JP", "TW")}, (3, 2)), id="prefixes"),
        pytest.param(RANGES, Ranges((0, 100), (99, 199), (("JP",), ("TW",)), 3), id="ranges"),
        pytest.param(SQLITE, Asked(how=SqliteQuery("/var/crm.db", QUERY), **MANNER), id="SQLite"),
        pytest.param(
            PG, Asked(how=PostgresqlQuery("postgresql://crm.internal/users", ARRAY), **MANNER), id="PostgreSQL"
        ),
        pytest.param(
            PG.replace('"postgresql://crm.internal/users"', "{secret: env:CRM_URL}"),
            Asked(how=PostgresqlQuery("", ARRAY, "env:CRM_URL"), **MANNER),
            id="a database whose URL is a secret",
        ),
        pytest.param(
            with_(PG, "password: {secret: file:/run/pw}"),
            Asked(how=PostgresqlQuery("postgresql://crm.internal/users", ARRAY, "", "file:/run/pw"), **MANNER),
            id="a database with a password",
        ),
        pytest.param(REDIS, Asked(how=RedisKey("redis://c.internal", "user:{id}:country", None), **MANNER), id="Redis"),
        pytest.param(
            with_(REDIS, 'select: "$.country"', "password: {secret: env:PW}"),
            Asked(how=RedisKey("redis://c.internal", "user:{id}:country", SELECT, "env:PW"), **MANNER),
            id="documents in a Redis",
        ),
        pytest.param(
            HTTP,
            Asked(how=HttpQuestion("https://d.internal/users/{id}", SELECT), **(MANNER | {"batch": 1})),
            id="a directory",
        ),
        pytest.param(
            with_(BATCH, "token: {secret: env:T}", "batch: 50"),
            Asked(
                how=HttpQuestion("https://d.internal/users?ids={ids}", SELECT, ("users", EVERY), ("id",), "env:T"),
                **(MANNER | {"batch": 50}),
            ),
            id="a directory that is asked for several",
        ),
        pytest.param(
            with_(SQLITE, "format: alpha3", "fresh: 10s", "timeout: 2s", "at_once: 2", "keep: 5000"),
            Asked(
                how=SqliteQuery("/var/crm.db", QUERY),
                **(
                    MANNER
                    | {"form": CountryForm.ALPHA3, "fresh_seconds": 10, "fresh_not_found_seconds": 10}
                    | {"timeout_seconds": 2.0, "at_once": 2, "kept": 5000}
                ),
            ),
            id="how it is asked",
        ),
    ],
)
def test_what_an_entry_becomes(load: Load, entry: str, lookup: Lookup) -> None:
    assert load(entry) == lookup


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        pytest.param("{id: crm, kind: sql}", "not one of: table, prefixes, ranges", id="no such kind"),
        pytest.param(
            "{id: crm, kind: http}", "`select` is missing: a lookup of kind http needs it", id="a key missing"
        ),
        pytest.param(with_(HTTP, "qurey: x"), "unknown key 'qurey' (did you mean 'query'?)", id="a key misspelt"),
        pytest.param(with_(HTTP, "query: x"), "'query' goes with kind sqlite or postgresql, not", id="another's key"),
        pytest.param(
            with_(PREFIXES, "fresh: 5s"), "'fresh' goes with kind sqlite, postgresql, redis or http", id="fresh"
        ),
        pytest.param(
            with_(PREFIXES, "format: alpha3"), "'format' goes with kind table, sqlite", id="countries are ours"
        ),
        pytest.param("{id: crm, kind: table, file: x.csv}", "the manifest lists no table 'x.csv'", id="no such table"),
        pytest.param(PREFIXES.replace("JP,", "jp,", 1), "write JP (upper case)", id="no country"),
        pytest.param("{id: crm, kind: prefixes, prefixes: {}}", "expected at least one", id="no prefixes"),
        pytest.param(
            '{id: crm, kind: prefixes, prefixes: {" 8": JP}}', "a space stands before", id="a prefix with a space"
        ),
        pytest.param(PREFIXES.replace("[TW, JP]", "[]"), "expected at least one", id="a prefix of no country"),
        pytest.param(RANGES.replace("to: 99", "to: 100"), "overlaps number 1", id="ranges that overlap"),
        pytest.param(RANGES.replace("from: 100", "from: 99"), "overlaps number 1", id="ranges that overlap by one"),
        pytest.param(RANGES.replace("from: 100", "from: 0"), "overlaps number 1", id="a range in another"),
        pytest.param(RANGES.replace("to: 199", "to: 99"), "ends at 99, before it begins", id="a range backwards"),
        pytest.param(RANGES.replace("to: 99", "to: 099"), "'099' is no end of a range", id="zeros"),
        pytest.param(SQLITE.replace("/var/", ""), "no path from the root on", id="a database in the folder"),
        pytest.param(SQLITE.replace("({ids})", "(1)"), "once where the ids stand", id="no place for ids"),
        pytest.param(PG.replace("crm.internal", "u:s3@h"), "without a password", id="a password"),
        pytest.param(
            PG.replace("url: ", "url: {secrets: ").replace('users"', 'users"}'), "{secret: env:NAME}", id="no secret"
        ),
        pytest.param(
            PG.replace('"postgresql://crm.internal/users"', "{secret: X}"), "write env:NAME", id="a bare secret"
        ),
        pytest.param(PG.replace('"postgresql://crm.internal/users"', "[x]"), "expected a URL", id="a list"),
        pytest.param(with_(PG, "password: hunter2"), "a secret is never written here", id="a written password"),
        pytest.param(REDIS.replace("{id}:", ""), "once where the id stands", id="a key of nobody"),
        pytest.param(PG.replace(ARRAY, QUERY), "one array here", id="a list of ids where there is an array"),
        pytest.param(REDIS.replace("redis://", "http://"), "none of redis://HOST", id="no Redis"),
        pytest.param(
            REDIS.replace('"redis://c.internal"', "{secret: env:X}"), "only that of postgresql", id="a secret"
        ),
        pytest.param(HTTP.replace("$.country", "country"), "begins with $", id="no path"),
        pytest.param(HTTP.replace("$.country", "$.users[0]"), "followed while reading", id="an index"),
        pytest.param(with_(HTTP, 'records: "$[*]"'), "write {ids} in it", id="records of one"),
        pytest.param(with_(HTTP, "batch: 5"), "write {ids} in it", id="a batch of one"),
        pytest.param(BATCH.replace('record_id: "$.id",', ""), "write `records` and `record_id`", id="whose records?"),
        pytest.param(BATCH.replace('"$.id"', "key").replace("users[*]", "users"), "ends in [*]", id="no key"),
        pytest.param(
            with_(HTTP.replace("https", "http"), "token: {secret: env:T}"), "over plain http", id="a token in clear"
        ),
        pytest.param(with_(HTTP, "timeout: 40s"), "at most 30s", id="it waits too long"),
        pytest.param(with_(HTTP, "timeout: 0ms"), "no time to wait", id="it does not wait"),
        pytest.param(with_(HTTP, "fresh: 25h"), "24h at most", id="it believes for too long"),
        pytest.param(
            with_(HTTP, "fresh: 1m", "fresh_not_found: 2m"), "no longer than `fresh`", id="not found for longer"
        ),
        pytest.param(with_(HTTP, "fresh_not_found: 1s", "timeout: 1s"), "wait less", id="too old when it comes"),
        pytest.param(with_(SQLITE, "batch: 1001"), "1000 ids at most", id="too many at once"),
        pytest.param(with_(SQLITE, "at_once: 65"), "at most 64", id="too many questions"),
        pytest.param(with_(SQLITE, "keep: 1999"), "at least 2000", id="too few answers"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, entry: str, words: str) -> None:
    told = problems_of(write_bundle(tmp_path, files(entry)))
    assert any(problem.startswith("lookups.yaml:2:") and words in problem for problem in told), told


def test_ids_are_their_own(tmp_path: Path) -> None:
    (told,) = problems_of(write_bundle(tmp_path, files(PREFIXES, RANGES)))
    assert "the id 'crm' stands twice" in told


def test_record_ids_may_be_keys(load: Load) -> None:
    lookup = load(BATCH.replace('"$.id"', "key"))
    assert isinstance(lookup, Asked)
    assert isinstance(lookup.how, HttpQuestion)
    assert lookup.how.record_id is None


@pytest.mark.parametrize(
    ("text", "means"),
    [("JP", ("JP",)), ("TW;JP", ("JP", "TW")), ("jp", None), ("JP;", None), ("JP|TW", None), ("XX", None)],
)
def test_cells_of_a_table(text: str, means: tuple[str, ...] | None) -> None:
    _, country = make_columns(CountryForm.ALPHA2)
    assert country.parse(text) == means


@pytest.mark.parametrize(
    ("form", "text", "words"),
    [
        ("alpha2", "jp", "write JP"),
        ("alpha2", "JP|TW", "several stand as JP;KR"),
        ("alpha2", "JP;jp", "'jp' is no ISO 3166-1"),
        ("alpha3", "JP", "'JP' is no country written as alpha3"),
        ("alpha2", "x" * 500, "'" + "x" * 40 + "'"),
    ],
)
def test_what_is_wrong_with_a_cell(form: str, text: str, words: str) -> None:
    _, country = make_columns(CountryForm(form))
    assert country.parse(text) is None
    assert words in country.explain(text)


@pytest.mark.parametrize(
    ("entry", "place", "key"),
    [
        (SQLITE, "/srv/crm.db", "file"),
        (PG.replace('"postgresql://crm.internal/users"', "{secret: env:U}"), "postgresql://h/d", "url"),
        (REDIS, "unix:///run/redis.sock", "url"),
        (HTTP, "http://127.0.0.1:9/{id}", "url"),
        (BATCH, "http://127.0.0.1:9/{ids}", "url"),
    ],
)
def test_a_deployment_says_where_it_is(load: Load, entry: str, place: str, key: str) -> None:
    lookup = load(entry)
    assert isinstance(lookup, Asked)
    moved = relocate(lookup, place)
    assert getattr(moved.how, key) == place
    assert getattr(moved.how, "url_secret", "") == ""
    changed = {key: place} | ({"url_secret": ""} if isinstance(lookup.how, PostgresqlQuery) else {})
    assert moved == msgspec.structs.replace(lookup, how=msgspec.structs.replace(lookup.how, **changed))


@pytest.mark.parametrize(
    ("entry", "place"),
    [(SQLITE, "crm.db"), (PG, "h"), (REDIS, "redis://:pw@h"), (HTTP, "https://d/{ids}"), (BATCH, "https://d/{id}")],
)
def test_a_place_that_cannot_be(load: Load, entry: str, place: str) -> None:
    lookup = load(entry)
    assert isinstance(lookup, Asked)
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the sentence
        relocate(lookup, place)


def test_small_bundles_have_none(tmp_path: Path) -> None:
    assert load_bundle(write_bundle(tmp_path, SMALL)).lookups == {}
