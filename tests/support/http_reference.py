# SPDX-License-Identifier: Apache-2.0
"""What a gateway must make of the bytes of a connection: the reference of the differential test.

Straight down the page, from RFC 9110, RFC 9112 and docs/headers.md, whose tables it reads. It shares nothing with the
gateway's own code, knows no speed, and has the whole connection in hand before it says anything.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

PAGE: Final = (Path(__file__).parents[2] / "docs" / "headers.md").read_text(encoding="utf-8")
_ROWS: Final = re.findall(r"(?m)^\| `([a-z0-9-]+\*?)` \| ([a-z][^|]*) \|$", PAGE)
TABLE: Final = {name: what for name, what in _ROWS if not name.endswith("*")}
PREFIXES: Final = {name[:-1]: what for name, what in _ROWS if name.endswith("*")}
LISTS: Final = {
    "connection", "te", "trailer", "via", "forwarded", "x-forwarded-for", "keep-alive", "upgrade", "proxy-authenticate",
    "traceparent", "tracestate",
}  # fmt: skip
"""Fields of the table that a sender may repeat (RFC 9110 5.3)."""
NEW_EACH_TIME: Final = {
    *re.findall(r"`([a-z0-9-]+)`", PAGE.partition("New in each request")[2].partition(":")[2].partition(".")[0])
}
"""Fields that go last."""
_UNPROTECTED: Final = re.compile("belongs to one connection|W3C Trace Context")
"""What the page says of fields of the table that ``Connection`` may name."""

TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
SUPPORTED: Final = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_HOST: Final = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
HOST: Final = "users.internal"
CLIENT: Final = "10.20.3.7"


class Passed(msgspec.Struct, frozen=True):
    """The API gets this, and what the gateway writes itself."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    body: bytes


class Denied(msgspec.Struct, frozen=True):
    """A request, and no doubt where it ends; the gateway answers, and may close."""

    is_whole: bool = True
    """Whether its body came to its end."""


class Doubt(msgspec.Struct, frozen=True):
    """Refused, and nothing behind it is read."""

    may_be_cut: bool = False
    """Whether an answer may be missing: its head was beyond doubt, and the request on its way."""


class Open(msgspec.Struct, frozen=True):
    """More must come before anything can be said."""


class Unsaid(msgspec.Struct, frozen=True):
    """The specification leaves it to the recipient."""


Outcome: TypeAlias = Passed | Denied | Doubt | Open | Unsaid


def read_connection(data: bytes, callers: dict[str, str]) -> Iterator[Outcome]:
    """Say what becomes of each request on a connection, in order, up to the last that can be told.

    Args:
        data: all that is sent.
        callers: ``Authorization`` of whoever is known, to ``support`` or ``engineer``.
    """
    while data:
        if data.startswith((b"\r", b"\n")):  # RFC 9112 2.2: SHOULD ignore an empty line
            yield Unsaid()
            return
        end = data.find(b"\r\n\r\n")
        bare = re.search(rb"(?<!\r)\n|\r(?!\n)|\0", data if end < 0 else data[:end])
        if end < 0:
            yield Unsaid() if bare else Open()
            return
        outcome, data, goes_on = (
            _read_request(data[:end], data[end + 4 :], callers) if not bare else (Doubt(), b"", False)
        )
        yield outcome
        if not goes_on:
            return


def _read_request(head: bytes, rest: bytes, callers: dict[str, str]) -> tuple[Outcome, bytes, bool]:
    line, *raw_fields = head.split(b"\r\n")
    start = re.fullmatch(rf"({TOKEN}) ([!-~\x80-\xff]+) HTTP/1\.([01])".encode("latin-1"), line)
    fields = _read_fields(raw_fields)
    if start is None or fields is None:
        return Doubt(), b"", False
    method, target, is_1_0 = start[1].decode(), start[2].decode("utf-8", "surrogateescape"), start[3] == b"0"
    lengths, codings = _values(fields, "content-length"), _values(fields, "transfer-encoding")
    judged = _judge(method, target, fields, callers)
    if isinstance(judged, Doubt) or not _is_framed(lengths, codings, is_1_0):
        return Doubt(), b"", False
    body, rest = _read_chunks(rest) if codings else _read_length(rest, int(lengths[0]) if lengths else 0)
    options = [option.strip().lower() for n, v in fields if n.lower() == "connection" for option in v.split(",")]
    goes_on = "close" not in options and (not is_1_0 or "keep-alive" in options)
    if isinstance(body, bytes):
        return (judged if isinstance(judged, Denied) else _with_body(judged, body)), rest, goes_on
    if isinstance(judged, Denied):
        return Denied(is_whole=False), b"", False
    return (Doubt(may_be_cut=True) if body is None else Open()), b"", False


def _is_framed(lengths: list[str], codings: list[str], is_1_0: bool) -> bool:  # noqa: FBT001 - what the line says
    """RFC 9112 6.1-6.3: one of both at most, once, and no coding but chunked, which HTTP/1.0 has not."""
    if len(lengths) + len(codings) > 1 or (codings and (is_1_0 or codings[0].lower() != "chunked")):
        return False
    return not lengths or re.fullmatch(r"[0-9]{1,18}", lengths[0]) is not None


def _with_body(judged: Passed, body: bytes) -> Passed:
    return Passed(judged.method, judged.target, judged.fields, body)


def _read_fields(lines: list[bytes]) -> list[tuple[str, str]] | None:
    fields = []
    for line in lines:
        field = re.fullmatch(rf"({TOKEN}):[ \t]*(.*?)[ \t]*".encode(), line, re.DOTALL)
        if field is None or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", field[2]):
            return None
        if field[1].lower() in {b"content-length", b"transfer-encoding"} and b"\t" in line:
            return None  # stricter than RFC 9110 5.5: llhttp does not read ``chunked`` where a tab follows
        try:
            fields.append((field[1].decode(), field[2].decode()))
        except UnicodeDecodeError:
            return None
    return fields


def _read_length(rest: bytes, length: int) -> tuple[bytes | Open | None, bytes]:
    return (rest[:length], rest[length:]) if len(rest) >= length else (Open(), b"")


def _read_chunks(rest: bytes) -> tuple[bytes | Open | None, bytes]:
    """Read chunks (RFC 9112 7.1); None stands for chunks that are none."""
    body, data = b"", rest
    while True:
        line, end, data = data.partition(b"\r\n")
        size = re.fullmatch(rf"([0-9A-Fa-f]{{1,15}})(?:;{TOKEN}(?:={TOKEN})?)*".encode(), line)
        if not end or size is None:
            return (None if end or b"\n" in line else Open()), b""
        count = int(size[1], 16)
        if count == 0:
            return _read_trailers(body, data)
        chunk, behind = data[:count], data[count : count + 2]
        if behind != b"\r\n":
            return (Open() if b"\r\n".startswith(behind) else None), b""
        body, data = body + chunk, data[count + 2 :]


def _read_trailers(body: bytes, data: bytes) -> tuple[bytes | Open | None, bytes]:
    if data.startswith(b"\r\n"):
        return body, data[2:]
    trailers, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return (None if re.search(rb"(?<!\r)\n", trailers) else Open()), b""
    return (None, b"") if _read_fields(trailers.split(b"\r\n")) is None else (body, rest)


def _judge(method: str, target: str, fields: list[tuple[str, str]], callers: dict[str, str]) -> Passed | Denied | Doubt:
    """Say what a head comes to, its framing aside; the body is not there yet."""
    kept = _sort_fields(fields)
    hosts = _values(fields, "host")
    path, mark, query = target.partition("?")
    if kept is None or method not in SUPPORTED or len(hosts) != 1:
        return Doubt()
    is_target = re.fullmatch(r"(/[A-Za-z0-9._~!$&'()*+,=:@-]+)+|/", path) and not {".", ".."} & set(path.split("/"))
    is_query = re.fullmatch(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%(?!00)[0-9A-Fa-f]{2})+", query)
    if not re.fullmatch(_HOST, hosts[0]) or not is_target or (mark and not is_query):
        return Doubt()
    if not _may(method, path, fields, callers):
        return Denied()
    return Passed(method, target, tuple((name.lower(), value) for name, value in kept), b"")


def _may(method: str, path: str, fields: list[tuple[str, str]], callers: dict[str, str]) -> bool:
    """Say whether this is of a declared route and of somebody who may; what is asked is beyond doubt."""
    credentials, expectations = _values(fields, "authorization"), _values(fields, "expect")
    addresses = [each.strip() for value in _values(fields, "x-forwarded-for") for each in value.split(",")]
    is_allowed = [callers.get(each) for each in credentials] == ["support"] and addresses[-1:] == [CLIENT]
    (host,) = _values(fields, "host")
    shape = {"GET": r"/v1/jp/users/(0|[1-9][0-9]{0,11})", "PUT": r"/v1/jp/users/(0|[1-9][0-9]{0,11})/phone"}
    is_declared = host.partition(":")[0].lower() == HOST and re.fullmatch(shape.get(method, "-"), path)
    return is_allowed and bool(is_declared) and expectations in ([], ["100-continue"])


def _values(fields: list[tuple[str, str]], wanted: str) -> list[str]:
    return [value for name, value in fields if name.lower() == wanted]


def _sort_fields(fields: list[tuple[str, str]]) -> list[tuple[str, str]] | None:
    """Return the fields that pass, None where the head is refused for one of them."""
    seen: set[str] = set()
    kept, options = [], []
    for name, value in fields:
        canonical = _canonical(name)
        what = _find(canonical)
        if not what:
            kept.append((name, value))
            continue
        if canonical != name.lower():
            continue  # an alias of a protected field
        if canonical in seen and canonical not in LISTS:
            return None
        seen.add(canonical)
        if what.startswith("forwarded") and canonical != "content-length":  # framing is written anew
            kept.append((name, value))
        if canonical == "connection":
            options += [_canonical(option.strip()) for option in value.split(",")]
    named = {option for option in options if option not in {"", "close"}}
    if any(_find(option) and not _UNPROTECTED.search(_find(option)) for option in named):
        return None
    return _sort_trace([(name, value) for name, value in kept if _canonical(name) not in named])


def _sort_trace(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the fields without those of a trace that are none by W3C Trace Context."""
    parents, states = _values(fields, "traceparent"), _values(fields, "tracestate")
    dropped = set()
    if len(parents) != 1 or not _is_parent(parents[0]):
        dropped = {"traceparent", "tracestate"}
    elif not _is_state(",".join(states)):
        dropped = {"tracestate"}
    kept = [(name, value) for name, value in fields if name.lower() not in dropped]
    return sorted(kept, key=lambda field: field[0].lower() in NEW_EACH_TIME)


def _is_parent(value: str) -> bool:
    version, *ids = value.split("-", 4)
    is_form = [len(each) for each in (version, *ids[:3])] == [2, 32, 16, 2]
    is_hex = not set("".join((version, *ids[:3]))) - set("0123456789abcdef")
    rest = ids[3] if len(ids) > 3 else ""
    is_rest = not rest or (version != "00" and all("!" <= each <= "~" for each in rest))
    is_id = is_form and bool(ids[0].strip("0")) and bool(ids[1].strip("0"))
    return (
        is_id
        and is_hex
        and version != "ff"
        and is_rest
        and not (version == "00" and len(ids) > 3)
        and len(value) <= 256
    )


def _is_state(value: str) -> bool:
    members = value.split(",")
    said = [member.strip(" \t") for member in members if member.strip(" \t")]
    pairs = [member.partition("=") for member in said]
    keys = [key for key, _, _ in pairs]
    return (
        len(said) > 0
        and len(members) <= 32
        and len({*keys}) == len(keys)
        and all(re.fullmatch("[a-z0-9][a-z0-9_*/@-]*", key) and len(key) <= 256 for key in keys)
        and all(0 < len(each) <= 256 and not set(each) & set("=,\t") for _, _, each in pairs)
        and all(" " <= character <= "~" for _, _, each in pairs for character in each)
    )


def _canonical(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "-", name.lower())


def _find(name: str) -> str:
    """Return what the page says of a field, nothing where it is one like any other."""
    found = TABLE.get(name)
    return found or next((what for prefix, what in PREFIXES.items() if name.startswith(prefix)), "")
