# SPDX-License-Identifier: Apache-2.0
"""An OpenAPI 3 document becomes a draft of the register ``apis``: a value goes in, YAML text comes out.

- The draft does not load: whose data a route carries is a person's judgement, and FILL-IN stands where it is due.
- Nothing is said that the loader would refuse for another reason: it is asked about every route, and what it refuses
  is left out, with its sentence in a comment.
- An answer that is not wholly known declares no fields: then rules take it to hold anything.
- The document is a stranger's: what comes from it is bounded, and stands in quotes, in a safe grammar, or in comments
  without a single character that ends a line.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from proxy.bundle.api_routes import METHODS, RouteEntry
from proxy.bundle.apis import ApiEntry, check_apis, parse_upstream_url
from proxy.bundle.guess import Answer, Reader, UnresolvedError, clean, is_country, is_id, split_words
from proxy.bundle.schema import validate
from proxy.model.api import Action
from proxy.model.entry import FILL_IN, parse_id

MAX_OPERATIONS: Final = 5000
MAX_COMMENTS: Final = 500
"""Lines about what was left out, so that a document of garbage ends."""

_OTHER_METHODS: Final = ("options", "trace", "query", "connect")
_ACTIONS: Final = {
    "GET": Action.READ, "HEAD": Action.READ, "POST": Action.CREATE,
    "PUT": Action.UPDATE, "PATCH": Action.UPDATE, "DELETE": Action.DELETE,
}  # fmt: skip
_EXPORT_WORDS: Final = frozenset({"export", "exports", "download", "downloads", "bulk", "dump", "takeout"})
_PEOPLE: Final = frozenset({"user", "member", "customer", "person", "account", "patient", "employee", "subject"})
_PARAMETER: Final = re.compile(r"\{([^{}/*+?#;&]+)\}")
_SERVER: Final = re.compile(r"(https?://[^/?#{}]+)?(/[^?#{}]*)?", re.IGNORECASE)
_PLAIN: Final = re.compile(r"[a-z][a-z0-9-]*|/[A-Za-z0-9/._~{}-]*")
_STAND_INS: Final[Mapping[str, Any]] = {"country": "JP", "authoritative": {"by": "somebody", "review_by": "2027-06-30"}}
"""What the loader is shown in place of FILL-IN."""

_WITH_BOTH: Final = "Who vouches that the API answers only for the country in the path? Is {id} the person's?"
_WITHOUT: Final = "Whose data does it carry? (see the end)"
_END: Final = """\

# Decide every FILL-IN; until then it does not load.
#   url        http://HOST:PORT of the API; beside it, hosted_in: the country it is served in
#   subject    whose data the route carries: {country: JP or "{country}", id: "{user_id}", authoritative:
#              {by: TEAM, review_by: 2027-06-30}}; or {records: "$.users[*]", country: "$.country", id: "$.id"} where
#              only the answer tells, then with fields: that begin at a record, $ standing for it; or none, then with
#              reason: and owner: and without fields:
#   by         who vouches that the API answers for no other country; review_by: when that is looked at again
# Categories under fields are guesses by name. A route with fields counts as carrying no other data, and nothing else
# leaves an answer that is looked into: add what is missing, or leave all of its fields out, and it counts as carrying
# anything.
# Then list this file in bundle.yaml as [apis]. Next: sekisho check DIR
"""


class Draft(msgspec.Struct, frozen=True):
    """A register that still has to be decided on."""

    text: str
    notes: tuple[str, ...]
    """What a person should know beside it, one sentence each."""


class _Candidate(msgspec.Struct, frozen=True):
    """One operation as a route, before the loader has been asked."""

    what: str
    """Method and path as the document has them."""
    raw: dict[str, Any]
    """The route as the loader would read it, with stand-ins."""
    is_whole: bool
    """Whether its path says country and id."""
    answer: Answer
    comments: tuple[str, ...]


class _Server(msgspec.Struct, frozen=True):
    """Where the document says that the API is."""

    url: str | None
    base: str
    notes: tuple[str, ...] = ()


def draft_apis(value: Any, *, source: str, api_id: str | None = None) -> Draft:
    """Return the draft of one API.

    Args:
        value: the document, all scalars text.
        source: what to call the document in the draft.
        api_id: what to call the API; the document's title unless told.

    Raises:
        ValueError: with a sentence; it is no document of which a draft can be made.
    """
    paths = _check_document(value)
    info = value.get("info") if isinstance(value.get("info"), dict) else {}
    title = clean(info.get("title", "")) if isinstance(info.get("title"), str) else ""
    reader = Reader(value)
    server = _read_server(value)
    left_out: list[str] = []
    candidates = _name_routes(list(_find_candidates(reader, paths, server, left_out)))
    api: dict[str, Any] = {"id": api_id or _make_id(split_words(title), "api")}
    kept = _ask_loader(api, candidates, left_out)
    if not kept:
        first = f", the first because: {left_out[0]}" if left_out else ""
        raise ValueError(f"{source} has no operation that can be declared as a route{first}")
    lines = [f"# A draft by `sekisho routes import` from {clean(source)}: it does not load before it is decided on."]
    lines += [f"# {note}" for note in server.notes]
    lines += ["apis:", f"  - id: {_quote(api['id'])}", *([f"    title: {_quote(title)}"] if title else [])]
    lines += [f"    upstream: {{url: {_quote(server.url) if server.url else FILL_IN}}}", "    routes:"]
    for candidate in kept:
        lines += _render(candidate)
    if left_out:
        lines += ["", "# Left out:", *(f"#   {sentence}" for sentence in left_out[:MAX_COMMENTS])]
        lines += [f"#   and {len(left_out) - MAX_COMMENTS} more"] if len(left_out) > MAX_COMMENTS else []
    notes = (f"{_count(len(kept), 'route')} drafted, {len(left_out)} left out.", *server.notes)
    return Draft("\n".join(lines) + "\n" + _END, notes)


def _check_document(value: Any) -> dict[str, Any]:
    """Return the document's paths."""
    if isinstance(value, dict) and "swagger" in value:
        raise ValueError("it is Swagger 2: convert it to OpenAPI 3 first")
    version = value.get("openapi") if isinstance(value, dict) else None
    if not isinstance(version, str) or not re.fullmatch(r"3\.[01](\.[0-9]{1,3})?(-.{0,20})?", version):
        raise ValueError("it is no OpenAPI document of version 3.0 or 3.1: it does not begin with `openapi: 3.…`")
    paths = value.get("paths")
    if not isinstance(paths, dict) or not paths:
        raise ValueError("it declares no paths")
    known = {*map(str.lower, METHODS), *_OTHER_METHODS}
    count = sum(1 for item in paths.values() if isinstance(item, dict) for key in item if key in known)
    if count > MAX_OPERATIONS or len(paths) > MAX_OPERATIONS:
        raise ValueError(f"it declares more than {MAX_OPERATIONS} operations: split it")
    return paths


def _read_server(value: Mapping[str, Any]) -> _Server:
    """Return where the first of the servers is, variables at their defaults."""
    servers = value.get("servers")
    first = servers[0] if isinstance(servers, list) and servers else None
    url = first.get("url") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(url, str):
        return _Server(None, "")
    notes = [f"The first of {len(servers or ())} servers was taken."] if len(servers or ()) > 1 else []
    variables = first.get("variables")
    for name, variable in variables.items() if isinstance(variables, dict) else ():
        default = variable.get("default") if isinstance(variable, dict) else None
        if isinstance(default, str) and f"{{{name}}}" in url and len(url) + len(default) < 1000:
            url = url.replace(f"{{{name}}}", default, 1)
            notes.append(f"The server's variable {clean(name)} was taken as {clean(default)}.")
    match = _SERVER.fullmatch(url)
    if match is None:
        return _Server(None, "", (*notes, f"The server {clean(url)} was not taken: check what paths begin with."))
    base = (match[2] or "").rstrip("/")
    try:
        return _Server(parse_upstream_url(match[1]) if match[1] else None, base, tuple(notes))
    except ValueError as error:
        return _Server(None, base, (*notes, f"The server was not taken: {clean(str(error))}."))


def _find_candidates(
    reader: Reader, paths: Mapping[str, Any], server: _Server, left_out: list[str]
) -> Iterator[_Candidate]:
    for path, unresolved in paths.items():
        if path.startswith("x-"):
            continue
        try:
            item, _ = reader.resolve(unresolved)
        except UnresolvedError as error:
            left_out.append(f"{clean(path)}: {error}")
            continue
        if not isinstance(item, dict):
            left_out.append(f"{clean(path)}: it is no mapping")
            continue
        for key in item:
            what = f"{clean(key).upper()} {clean(path)}"
            if key in _OTHER_METHODS:
                left_out.append(f"{what}: a method that no route takes")
            elif key.upper() in METHODS and key.islower():
                yield from _make_candidate(reader, what, path, server, (key.upper(), item, left_out))


def _make_candidate(
    reader: Reader, what: str, path: str, server: _Server, rest: tuple[str, Mapping[str, Any], list[str]]
) -> Iterator[_Candidate]:
    """Yield one operation as a route, or say why it cannot be one."""
    method, item, left_out = rest
    operation = item[method.lower()]
    if not isinstance(operation, dict):
        left_out.append(f"{what}: it is no mapping")
        return
    named = _name_parameters(server.base + path)
    if isinstance(named, str):
        left_out.append(f"{what}: {named}")
        return
    template, names = named
    patterns, comments = reader.find_patterns(item, operation, names)
    comments = [*_describe(operation), *comments]
    if "servers" in item or "servers" in operation:
        comments.append("It has servers of its own, which were not taken: check the path.")
    operation_id = operation.get("operationId")
    words = split_words(operation_id) if isinstance(operation_id, str) else []
    place = split_words(path)
    answer = reader.read_answer(operation)
    subject = _guess_subject(list(names))
    raw: dict[str, Any] = {
        "id": _make_id(words or [method.lower(), *place], "route"),
        "methods": [method],
        "path": template,
        "action": _guess_action(method, {*words, *place}).value,
        "subject": {**_STAND_INS, **subject},
    }
    raw |= {"parameters": patterns} if patterns else {}
    raw |= {"fields": answer.fields} if answer.fields else {}
    yield _Candidate(what, raw, bool(subject), answer, tuple(comments))


def _describe(operation: Mapping[str, Any]) -> list[str]:
    summary = operation.get("summary")
    lines = [clean(summary)] if isinstance(summary, str) and summary.strip() else []
    return [*lines, "The document calls it deprecated."] if operation.get("deprecated") == "true" else lines


def _name_parameters(path: str) -> tuple[str, dict[str, str]] | str:
    """Return the path in our grammar and our names to the document's, or why it cannot be said."""
    segments = []
    names: dict[str, str] = {}
    if len(path) > 1000:
        return "the path is longer than 1000 characters"
    for segment in path.split("/"):
        match = _PARAMETER.fullmatch(segment)
        if match is None and ("{" in segment or "}" in segment):
            return f"segment {clean(segment)} is neither a literal nor one whole {{parameter}}"
        if match is None:
            segments.append(segment)
            continue
        stem = re.sub(r"^(?=[0-9]|$)", "p_", "_".join(split_words(match[1]))[:40]).rstrip("_")
        name = next(
            name for name in (stem, *(f"{stem}_{number}" for number in range(2, len(names) + 3))) if name not in names
        )
        names[name] = match[1]
        segments.append(f"{{{name}}}")
    return "/".join(segments), names


def _guess_action(method: str, words: Collection[str]) -> Action:
    """Guess by method; what hands out many at once is an export. A bulk change stays a change."""
    if method in {"GET", "HEAD", "POST"} and not _EXPORT_WORDS.isdisjoint(words):
        return Action.EXPORT
    return _ACTIONS[method]


def _guess_subject(names: Sequence[str]) -> dict[str, str]:
    """Return country and id where the path has both; nothing otherwise."""
    country = next((name for name in names if is_country(name)), None)
    ids = [name for name in names if is_id(name)]
    ids.sort(key=lambda name: _PEOPLE.isdisjoint(name.split("_")))
    return {"country": f"{{{country}}}", "id": f"{{{ids[0]}}}"} if country and ids else {}


def _make_id(words: Sequence[str], fallback: str) -> str:
    """Return an id of words, with room for a number behind it."""
    text = "-".join(words)[:56].strip("-") or fallback
    try:
        return parse_id(text)
    except ValueError:  # a word of ours, such as `default`
        return f"{text}-{fallback}"


def _name_routes(candidates: Sequence[_Candidate]) -> Sequence[_Candidate]:
    """Make ids unique: the second of a name gets a number."""
    taken = {candidate.raw["id"] for candidate in candidates}
    seen: dict[str, int] = {}
    for candidate in candidates:
        stem = candidate.raw["id"]
        number = seen.get(stem, 0) + 1
        while number > 1 and f"{stem}-{number}" in taken:
            number += 1
        seen[stem] = number
        if number > 1:
            candidate.raw["id"] = f"{stem}-{number}"
            taken.add(candidate.raw["id"])
    return candidates


def _ask_loader(api: Mapping[str, Any], candidates: Sequence[_Candidate], left_out: list[str]) -> Sequence[_Candidate]:
    """Return the routes that load once they are decided on; note what the loader says of the others."""
    kept, sound = [], []
    for candidate in candidates:
        entry = validate(RouteEntry, candidate.raw)
        if isinstance(entry, list):
            left_out.append(f"{candidate.what}: {clean(entry[0].message)}")
        else:
            sound.append(candidate)
    for group in _split(sound):
        routes = [candidate.raw for candidate in group]
        whole = {**api, "upstream": {"url": "http://127.0.0.1:9000"}, "routes": routes}
        refused: dict[Any, str] = {}
        for problem in check_apis([ApiEntry.model_validate(whole)]):
            refused.setdefault(problem.path[2], problem.message)
        left_out += [f"{group[index].what}: {clean(message)}" for index, message in refused.items()]
        kept += [candidate for index, candidate in enumerate(group) if index not in refused]
    places = {id(candidate): place for place, candidate in enumerate(candidates)}
    return sorted(kept, key=lambda candidate: places[id(candidate)])


def _split(candidates: Sequence[_Candidate]) -> Iterator[list[_Candidate]]:
    """Yield groups of which no two can overlap, since the loader compares each route with each.

    Only routes of one method and one length overlap, and not where a segment that is a literal in all of them differs.
    """
    alike: dict[tuple[str, int], list[tuple[_Candidate, list[str]]]] = {}
    for candidate in candidates:
        segments = candidate.raw["path"].split("/")
        alike.setdefault((candidate.raw["methods"][0], len(segments)), []).append((candidate, segments))
    for (_, length), members in alike.items():
        literal = [place for place in range(length) if not any(path[place].startswith("{") for _, path in members)]
        groups: dict[tuple[str, ...], list[_Candidate]] = {}
        for candidate, path in members:
            groups.setdefault(tuple(path[place] for place in literal), []).append(candidate)
        yield from groups.values()


def _render(candidate: _Candidate) -> list[str]:
    """Return the lines of one route."""
    raw = candidate.raw
    lines = ["", f"- id: {_quote(raw['id'])}", *(f"  # {comment}" for comment in candidate.comments)]
    lines += [f"  methods: [{raw['methods'][0]}]", f"  path: {_quote(raw['path'])}", f"  action: {raw['action']}"]
    if candidate.is_whole:
        country, id_ = raw["subject"]["country"], raw["subject"]["id"]
        vouched = f"{{by: {FILL_IN}, review_by: {FILL_IN}}}"
        lines.append(f"  # {_WITH_BOTH.format(id=id_)}")
        lines.append(f'  subject: {{country: "{country}", id: "{id_}", authoritative: {vouched}}}')
    else:
        lines += [f"  # {_WITHOUT}", f"  subject: {FILL_IN}"]
    if "parameters" in raw:
        pairs = ", ".join(f"{name}: {json.dumps(pattern)}" for name, pattern in raw["parameters"].items())
        lines.append(f"  parameters: {{{pairs}}}")
    if "fields" in raw:
        lines += ["  fields:", *(f'    "{path}": {category}' for path, category in raw["fields"].items())]
    lines += [f"  # {comment}" for comment in candidate.answer.comments]
    return [f"      {line}" if line else line for line in lines]


def _quote(text: str) -> str:
    """Return a text as YAML reads it back: plain where that is safe, else in double quotes."""
    return text if _PLAIN.fullmatch(text) else json.dumps(clean(text), ensure_ascii=False)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
