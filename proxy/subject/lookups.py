# SPDX-License-Identifier: Apache-2.0
"""The register ``lookups``: who tells the countries of data subjects by their ids.

- In memory are tables (files of the folder), prefixes and ranges: what stands there is told at once, of every id.
- Elsewhere are databases (SQLite, PostgreSQL), a Redis, and directories over HTTP: they are asked, and what they said
  is believed for a while (``fresh``), and not a moment longer.
- A subject may have several countries. An id that nobody knows has none, which is a word of its own.
- Ids are compared as texts: ``007`` is not ``7``, whatever somebody's database thinks.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Final, assert_never

import msgspec
from pydantic import BeforeValidator, Field

from proxy.model.country import CountryForm, read_country, refuse_country
from proxy.model.entry import Country, Duration, Entry, Id, Number, Text, choice, refuse, scalar, spelled
from proxy.model.json_path import EVERY, JsonPath, parse_json_path
from proxy.model.problem import Problem, nearest
from proxy.model.secret import Secret, SecretEntry, parse_secret_reference
from proxy.model.table import Column, explain_key, parse_key
from proxy.subject.places import (
    IDS,
    check_secrecy,
    parse_array_query,
    parse_path,
    parse_postgresql_url,
    parse_query,
    parse_redis_key,
    parse_redis_url,
    parse_url_template,
)
from proxy.subject.register import (
    Asked,
    How,
    HttpQuestion,
    InMemory,
    PostgresqlQuery,
    Prefixes,
    Ranges,
    RedisKey,
    SqliteQuery,
)
from proxy.subject.told import BETWEEN, read_cell

RECORD_KEY: Final = "key"
"""As ``record_id``: the name under which a record stands."""
IN_MEMORY: Final = frozenset({"table", "prefixes", "ranges"})
_KEYS: Final[Mapping[str, tuple[frozenset[str], frozenset[str]]]] = {
    "table": (frozenset({"file"}), frozenset({"format"})),
    "prefixes": (frozenset({"prefixes"}), frozenset()),
    "ranges": (frozenset({"ranges"}), frozenset()),
    "sqlite": (frozenset({"file", "query"}), frozenset({"format"})),
    "postgresql": (frozenset({"url", "query"}), frozenset({"format", "password"})),
    "redis": (frozenset({"url", "key"}), frozenset({"format", "select", "password"})),
    "http": (frozenset({"url", "select"}), frozenset({"format", "records", "record_id", "token"})),
}
"""By kind, the keys that it needs, and others that it may have."""
KINDS: Final = tuple(_KEYS)
_MANNER: Final = frozenset({"fresh", "fresh_not_found", "timeout", "batch", "at_once", "keep"})
"""Keys that say how somebody elsewhere is asked."""
_OF_KINDS: Final = _MANNER.union(*(needed | allowed for needed, allowed in _KEYS.values()))

DEFAULT_BATCH: Final = 200
MAX_BATCH: Final = 1000
MIN_KEPT: Final = 2000
"""More than the ids of one request or one part of an answer, which are looked at after all were asked for."""
DEFAULT_NOT_FOUND_SECONDS: Final = 30
MAX_FRESH_SECONDS: Final = 24 * 3600
MAX_TIMEOUT_MILLISECONDS: Final = 30_000
MAX_AT_ONCE: Final = 64
_PATIENCE: Final = re.compile(r"([1-9][0-9]{0,4})(ms|s)")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,37}")


# What is written


def _parse_patience(text: str) -> int:
    match = _PATIENCE.fullmatch(text)
    milliseconds = int(match[1]) * (1 if match[2] == "ms" else 1000) if match else 0
    if not 0 < milliseconds <= MAX_TIMEOUT_MILLISECONDS:
        raise ValueError(f"{text!r} is no time to wait, such as 500ms or 2s, and at most 30s")
    return milliseconds


def _parse_end(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is no end of a range: a whole number without zeros before it")
    return int(text)


def _parse_prefix(text: str) -> str:
    if parse_key(text) is None:
        raise ValueError(explain_key(text))
    return text


def _parse_record_id(text: str) -> JsonPath | None:
    return None if text == RECORD_KEY else parse_json_path(text)


def _read_url(raw: Any) -> str | SecretEntry:
    if not isinstance(raw, dict):
        if not isinstance(raw, str) or not raw.strip():
            raise refuse("expected a URL")
        return raw
    if raw.keys() != {"secret"} or not isinstance(raw["secret"], str):
        raise refuse("expected a URL, or {secret: env:NAME} where the whole URL is a secret")
    try:
        return SecretEntry(secret=parse_secret_reference(raw["secret"]))
    except ValueError as error:
        raise refuse(str(error)) from error


_UrlText = Annotated[str, scalar(str)]
_PATH: Final = spelled(re.compile(r"\$.*"))
_Path = Annotated[JsonPath, scalar(parse_json_path, _PATH)]
_Countries = Annotated[
    list[Country],
    BeforeValidator(lambda raw: [raw] if isinstance(raw, str) else raw, json_schema_input_type=Country | list[Country]),
    Field(min_length=1),
]
_End = Annotated[int, scalar(_parse_end, spelled(_NUMBER, "integer"))]


class RangeEntry(Entry):
    """Ids that are whole numbers, from one to another, both included."""

    from_: _End = Field(alias="from")
    to: _End
    country: _Countries


class LookupEntry(Entry):
    """One register of countries by ids, as it is written."""

    id: Id
    kind: Annotated[str, choice(*KINDS)]
    title: Text | None = None
    file: Text | None = None
    """A table that the manifest lists for lookups; of `sqlite` a database, from the root on."""
    prefixes: dict[Annotated[str, scalar(_parse_prefix)], _Countries] | None = Field(default=None, min_length=1)
    """The beginning of an id to its country; the longest that fits counts."""
    ranges: list[RangeEntry] | None = Field(default=None, min_length=1)
    url: Annotated[
        str | SecretEntry | None, BeforeValidator(_read_url, json_schema_input_type=_UrlText | SecretEntry)
    ] = None
    """Where it is; of `http` with {id} where an id stands, or {ids} for several; of `postgresql` it may be a secret."""
    query: Text | None = None
    """SQL that returns ids and countries, in this order, with {ids} where the ids stand."""
    key: Text | None = None
    """Of `redis`: the key of an id, with {id} where that stands."""
    select: _Path | None = None
    """JSONPath of the countries: in the answer, in each of its records, in a value."""
    records: _Path | None = None
    """JSONPath of the records of an answer on several ids."""
    record_id: Annotated[JsonPath | None, scalar(_parse_record_id, spelled(re.compile(r"\$.*|key")))] = None
    """Whose a record is: JSONPath in it, or `key`, the name under which it stands."""
    format: Annotated[str, choice(*CountryForm)] = CountryForm.ALPHA2
    """How countries are written there."""
    password: Secret | None = None
    token: Secret | None = None
    """Sent to `http` as bearer token (RFC 6750 2.1)."""
    fresh: Duration = 600
    """How long an answer is believed."""
    fresh_not_found: Duration | None = None
    """How long it is believed that an id is not known there; 30s, or `fresh` if that is less."""
    timeout: Annotated[int, scalar(_parse_patience, spelled(_PATIENCE))] = 500
    """How long an answer is waited for."""
    batch: Number = DEFAULT_BATCH
    """How many ids are asked for in one question."""
    at_once: Number = 8
    """How many questions of one process are under way at once."""
    keep: Number = 100_000
    """How many answers one process keeps."""


# What is wrong


def check_lookups(entries: Sequence[LookupEntry], tables: Iterable[str]) -> list[Problem]:
    """Return what is wrong with registers of countries.

    Args:
        entries: the register.
        tables: files that the manifest lists for them.
    """
    listed = [*tables]
    return [
        problem.under(index)
        for index, entry in enumerate(entries)
        for problem in _check_keys(entry) or [*_check_values(entry, listed), *_check_bounds(entry)]
    ]


def _check_keys(entry: LookupEntry) -> list[Problem]:
    """Tell what a kind lacks, and what is another's."""
    needed, allowed = _KEYS[entry.kind]
    manner = frozenset() if entry.kind in IN_MEMORY else _MANNER
    written = entry.model_fields_set & _OF_KINDS
    lacking = [
        Problem((), f"`{key}` is missing: a lookup of kind {entry.kind} needs it") for key in sorted(needed - written)
    ]
    return lacking + [
        Problem((key,), f"{key!r} goes with {_name_kinds(key)}, not with kind {entry.kind}", at_key=True)
        for key in sorted(written - needed - allowed - manner)
    ]


def _name_kinds(key: str) -> str:
    kinds = [
        kind
        for kind, (needed, allowed) in _KEYS.items()
        if key in needed | allowed | (frozenset() if kind in IN_MEMORY else _MANNER)
    ]
    return f"kind {', '.join(kinds[:-1])} or {kinds[-1]}" if len(kinds) > 1 else f"kind {kinds[0]}"


def _check_values(entry: LookupEntry, tables: Sequence[str]) -> list[Problem]:
    if entry.kind == "table" and entry.file not in tables:
        message = f"the manifest lists no table {entry.file!r} for lookups{nearest(entry.file or '', tables)}"
        return [Problem(("file",), message)]
    if entry.kind == "ranges":
        return _check_ranges(entry.ranges or [])
    problems = [
        *(Problem((key,), sentence) for key, sentence in _refuse_texts(entry) if sentence),
        *(_check_records(entry) if entry.kind == "http" else []),
    ]
    if isinstance(entry.url, SecretEntry) and entry.kind != "postgresql":
        problems.append(
            Problem(("url",), f"the URL of kind {entry.kind} is written here: only that of postgresql may be a secret")
        )
    return problems


_TEXTS: Final[Mapping[tuple[str, str], Callable[[str], str]]] = {
    ("sqlite", "file"): parse_path,
    ("sqlite", "query"): parse_query,
    ("postgresql", "url"): parse_postgresql_url,
    ("postgresql", "query"): parse_array_query,
    ("redis", "url"): parse_redis_url,
    ("redis", "key"): parse_redis_key,
    ("http", "url"): parse_url_template,
}
"""By kind and key, what reads a text."""


def _refuse_texts(entry: LookupEntry) -> Iterable[tuple[str, str]]:
    """Yield the keys whose texts cannot be used, with the sentence that says why; an empty one where they can."""
    for (kind, key), parse in _TEXTS.items():
        text = getattr(entry, key)
        if kind == entry.kind and isinstance(text, str):
            yield key, _refuse(parse, text)
    if entry.kind == "http" and entry.token is not None and isinstance(entry.url, str):
        yield "token", _refuse(check_secrecy, entry.url)


def _refuse(parse: Callable[[str], Any], text: str) -> str:
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return ""


def _check_ranges(entries: Sequence[RangeEntry]) -> list[Problem]:
    problems = [
        Problem(("ranges", index), f"the range ends at {entry.to}, before it begins")
        for index, entry in enumerate(entries)
        if entry.to < entry.from_
    ]
    ordered = sorted(range(len(entries)), key=lambda index: (entries[index].from_, entries[index].to))
    for one, other in pairwise(ordered):
        if entries[other].from_ <= entries[one].to and not problems:
            first, last = sorted((one, other))
            message = f"the range overlaps number {first + 1}: an id that both hold would have two answers"
            problems.append(Problem(("ranges", last), message))
    return problems


def _check_records(entry: LookupEntry) -> list[Problem]:
    """RFC 9535 paths of an answer on several ids go together, and with ``{ids}``."""
    takes_several = isinstance(entry.url, str) and IDS in entry.url
    has_id = "record_id" in entry.model_fields_set
    if takes_several and not (entry.records is not None and has_id):
        return [Problem(("url",), "an answer on several ids has records: write `records` and `record_id`")]
    if not takes_several:
        return [
            Problem((key,), f"{key!r} goes with a URL that asks about several ids: write {IDS} in it", at_key=True)
            for key in ("records", "record_id", "batch")
            if key in entry.model_fields_set
        ]
    if entry.record_id is None and entry.records and entry.records[-1] is not EVERY:
        return [Problem(("records",), "with `record_id: key` this ends in [*]: every member of an object")]
    return []


def _check_bounds(entry: LookupEntry) -> list[Problem]:
    not_found = _not_found_seconds(entry)
    bounds = (
        ("fresh", entry.fresh <= MAX_FRESH_SECONDS, "an answer is believed for 24h at most"),
        ("fresh_not_found", not_found <= entry.fresh, "this is no longer than `fresh`"),
        (
            "timeout",
            entry.timeout < 1000 * not_found,
            "a late answer would be too old to be believed: wait less",
        ),
        ("batch", entry.batch <= MAX_BATCH, f"one question asks for {MAX_BATCH} ids at most"),
        ("at_once", entry.at_once <= MAX_AT_ONCE, f"at most {MAX_AT_ONCE} questions are under way at once"),
        ("keep", entry.keep >= MIN_KEPT, f"at least {MIN_KEPT} answers are kept: as many as one answer's records need"),
    )
    return [Problem((key,), message) for key, is_kept, message in bounds if not is_kept]


def _not_found_seconds(entry: LookupEntry) -> int:
    return min(DEFAULT_NOT_FOUND_SECONDS, entry.fresh) if entry.fresh_not_found is None else entry.fresh_not_found


# What it becomes


def make_columns(form: CountryForm) -> tuple[Column, ...]:
    """Return the columns of a table; several countries of an id stand in one cell, or in rows of their own."""

    def parse(text: str) -> tuple[str, ...] | None:
        return read_cell(text, form).countries or None

    def explain(text: str) -> str:
        wrong = next(each for each in text.split(BETWEEN) if read_country(each, form) is None)[:40]
        hint = f"; several stand as JP{BETWEEN}KR" if len(text) > 2 and form is CountryForm.ALPHA2 else ""
        why = refuse_country(wrong) if form is CountryForm.ALPHA2 else f"{wrong!r} is no country written as {form}"
        return f"{why}{hint}"

    return (Column("id", parse_key, explain_key, empty=None), Column("country", parse, explain, empty=None))


def compile_lookup(entry: LookupEntry) -> InMemory | Asked:
    """Return a register as requests need it, but for a table, which the folder holds. It has been checked."""
    if entry.prefixes is not None:
        lengths = tuple(sorted({len(prefix) for prefix in entry.prefixes}, reverse=True))
        return Prefixes({prefix: _countries(each) for prefix, each in entry.prefixes.items()}, lengths)
    if entry.ranges is not None:
        ordered = sorted(entry.ranges, key=lambda each: each.from_)
        return Ranges(
            tuple(each.from_ for each in ordered),
            tuple(each.to for each in ordered),
            tuple(_countries(each.country) for each in ordered),
            len(str(ordered[-1].to)),
        )
    return Asked(
        id=entry.id,
        how=_compile_how(entry),
        form=CountryForm(entry.format),
        fresh_seconds=entry.fresh,
        fresh_not_found_seconds=_not_found_seconds(entry),
        timeout_seconds=entry.timeout / 1000,
        batch=entry.batch if entry.kind != "http" or entry.records is not None else 1,
        at_once=entry.at_once,
        kept=entry.keep,
    )


def _compile_how(entry: LookupEntry) -> How:
    url = entry.url if isinstance(entry.url, str) else ""
    password = entry.password.secret if entry.password else ""
    if entry.kind == "sqlite":
        return SqliteQuery(entry.file or "", entry.query or "")
    if entry.kind == "postgresql":
        secret = entry.url.secret if isinstance(entry.url, SecretEntry) else ""
        return PostgresqlQuery(url, entry.query or "", secret, password)
    if entry.kind == "redis":
        return RedisKey(url, entry.key or "", entry.select, password)
    token = entry.token.secret if entry.token else ""
    return HttpQuestion(url, entry.select or (), entry.records, entry.record_id, token)


def _countries(codes: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(codes)))


def relocate(lookup: Asked, place: str) -> Asked:
    """Return a register that this deployment finds elsewhere.

    Raises:
        ValueError: it cannot be there; a sentence says why.
    """
    how = lookup.how
    match how:
        case SqliteQuery():
            how = msgspec.structs.replace(how, file=parse_path(place))
        case PostgresqlQuery():
            how = msgspec.structs.replace(how, url=parse_postgresql_url(place), url_secret="")
        case RedisKey():
            how = msgspec.structs.replace(how, url=parse_redis_url(place))
        case HttpQuestion():
            how = msgspec.structs.replace(how, url=_parse_other_url(how, place))
        case _:
            assert_never(how)
    return msgspec.structs.replace(lookup, how=how)


def _parse_other_url(how: HttpQuestion, place: str) -> str:
    url = parse_url_template(place)
    if how.token:
        check_secrecy(url)
    if (IDS in url) != (how.records is not None):
        raise ValueError(
            f"{place!r} asks about {'one id' if how.records else 'several ids'}, other than the bundle's does"
        )
    return url
