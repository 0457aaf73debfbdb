# SPDX-License-Identifier: Apache-2.0
"""One line of a ledger as one row for people. Nothing in it commands a terminal."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from proxy.cli.terminal import plain
from proxy.ledger.contents import tell_records
from proxy.ledger.query import Row, find_value, find_words, render_words
from proxy.model.facts import State

SHORT: Final = 8
"""Digits of a pseudonym that a row shows; ``--who`` takes as many."""
_WIDTHS: Final = (24, 26, 12, 8, 20, 9, 28, 34, 7, 0)
_HEADINGS: Final = ("time", "id", "answer", "who", "affiliate", "tied to", "from", "asked for", "of", "rule and reason")
_FRAME: Final = frozenset({"n", "prev", "time", "line"})


def _lay_out(cells: tuple[str, ...]) -> str:
    return "  ".join(f"{cell or '-':<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


HEADING: Final = _lay_out(_HEADINGS)


def tell_line(line: Row) -> str:
    """Return a line of any kind as one row."""
    if line.get("line") == "decision":
        return tell_decision(line)
    return plain(f"{_word(line, 'time'):<24}  {_word(line, 'line')}: {describe_line(line)}")


def tell_decision(row: Row) -> str:
    """Return a decision as one row."""
    who, person = (_shorten(str(find_value(row, name))) for name in ("who", "on_behalf_of"))
    cells = (
        _word(row, "time"),
        _word(row, "id"),
        tell_answer(row),
        f"{who or '-'} for {person}" if person else who,
        _state(find_words(row, "affiliate")),
        _state(find_words(row, "countries")) + ("+?" if find_value(row, "countries_open") is True else ""),
        " ".join(_state(find_words(row, name)) for name in ("ip", "origin_country", "network")).removesuffix(" -"),
        _asked_for(row),
        _state(find_words(row, "subject_country")),
        _why(row),
    )
    return _lay_out(tuple(map(plain, cells)))


def _shorten(who: str) -> str:
    """Return the beginning of a pseudonym; whoever is recorded in clear is shown whole."""
    return who if "|" in who else who[:SHORT]


def tell_answer(row: Row) -> str:
    """Say in a word or two what a request got."""
    effect = "observed" if find_value(row, "enforced") is False else str(find_value(row, "effect"))
    return f"{effect} {find_value(row, 'status')}".rstrip()


def _asked_for(row: Row) -> str:
    method, api, route, action = (str(find_value(row, name)) for name in ("method", "api", "route", "action"))
    if not route:
        return f"{method} {find_value(row, 'shape') or api}".rstrip()
    return f"{method} {api}/{route}" + ("" if action == "read" else f" ({action})")


def _why(row: Row) -> str:
    rule, reason = str(find_value(row, "rule")), str(find_value(row, "reason"))
    parts = [rule, reason] if rule else [reason]
    unknown = ", ".join(find_words(row, "unknown")).strip()
    if find_value(row, "certainty") == "by-unknown" and unknown:
        parts.insert(1, f"(not known: {unknown})")
    if find_value(row, "shadow_changes") is True:
        parts.append(f"(shadow: would {find_value(row, 'shadow_would')})")
    if find_value(row, "records_dropped") or find_value(row, "records_masked"):
        parts.append(f"({tell_records(row.get('content'))})")
    if row.get("complete") is False:
        parts.append(f"(broke off: {find_value(row, 'end_reason') or 'nobody knows why'})")
    return " ".join(parts)


def _state(words: tuple[str, ...]) -> str:
    shown = ",".join(words)
    return "-" if shown in {"", State.ABSENT.value, State.NOT_APPLICABLE.value} else shown


def _word(line: Mapping[str, Any], *path: str) -> str:
    value: Any = line
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return ",".join(render_words(value))


def _said(*names: str) -> Callable[[Row], tuple[str, ...]]:
    return lambda line: tuple(_word(line, name) for name in names)


def _describe_checkpoint(line: Row) -> str:
    note = _word(line, "note").split("\n")
    if len(note) < 3:
        return "signed, over all lines before this one"
    return f"signed over the {note[1]} lines before this one; origin {note[0]}, root {note[2]}"


def _describe_end(line: Row) -> str:
    whole = "whole" if line.get("complete") is True else f"broke off ({_word(line, 'reason') or 'nobody knows why'})"
    status, sent = _word(line, "status") or "no status", _word(line, "bytes") or "0"
    taken = f" and {_word(line, 'bytes_in')} from the caller" if line.get("bytes_in") else ""
    seconds = _word(line, "seconds") or "0"
    told = f"request {_word(line, 'id')}: {status}, {whole}, {sent} bytes{taken}, {seconds} seconds"
    return told + _describe_content(line)


def _describe_released(line: Row) -> str:
    return f"request {_word(line, 'id')}: about to leave up to byte {_word(line, 'bytes')}{_describe_content(line)}"


def _describe_content(line: Row) -> str:
    """Say what was found in records; whose they are stands in the line."""
    content = line.get("content")
    told = tell_records(content)
    if not isinstance(content, dict) or not told:
        return ""
    listed = (("left", "left"), ("kept_back", "kept back"), ("rules", "by"))
    return f", {told}" + "".join(f"; {name} {pairs}" for key, name in listed if (pairs := _pairs(content.get(key))))


def _describe_refusals(line: Row) -> str:
    reasons = _pairs(line.get("reasons"))
    return (
        f"{_word(line, 'count')} more from {_word(line, 'ip')} were counted only, "
        f"{_word(line, 'since')} to {_word(line, 'until')}: {reasons}"
    )


def _describe_decision(line: Row) -> str:
    return f"request {_word(line, 'id')}: {tell_answer(line)}, {_why(line)}"


def _describe_start(line: Row) -> str:
    replica = f", replica {_word(line, 'replica')}," if "replica" in line else ""
    return f"gateway {_word(line, 'version')}{replica} begins to take requests"


def _describe_geolocation(line: Row) -> str:
    databases = line.get("databases")
    listed = [each for each in databases if isinstance(each, dict)] if isinstance(databases, list) else []
    told = "; ".join(f"{_word(each, 'use')}: {_word(each, 'type')} of {_word(each, 'built')}" for each in listed)
    return f"data {_word(line, 'version')} are put in force" + (f": {told}" if told else "")


def _pairs(value: Any) -> str:
    return ", ".join(word.replace("=", " ", 1) for word in render_words(value)) if isinstance(value, dict) else ""


def _sentence(form: str, *names: str) -> Callable[[Row], str]:
    said = _said(*names)
    return lambda line: form.format(*said(line))


_SENTENCES: Final[Mapping[str, Callable[[Row], str]]] = {
    "decision": _describe_decision,
    "released": _describe_released,
    "end": _describe_end,
    "refusals": _describe_refusals,
    "start": _describe_start,
    "stop": _sentence("the gateway ends in order"),
    "bundle": _sentence("bundle {} is put in force, mode {}", "bundle", "mode"),
    "geolocation": _describe_geolocation,
    "keys": _sentence("people are named by the key of {} from here on", "pseudonyms"),
    "segment": _sentence("segment {} of the ledger {} begins", "segment", "origin"),
    "checkpoint": _describe_checkpoint,
    "clock": _sentence("the clock was set back: it was {} before", "was"),
    "recovered": _sentence("after a crash, {} bytes of an unfinished line were cut off", "cut_bytes"),
    "retention": _sentence("lines before line {} are no longer kept", "first"),
}
"""Kind of a line to what it says."""
LINE_KINDS: Final = frozenset(_SENTENCES)


def describe_line(line: Row) -> str:
    """Say in words what a line of any kind says; of a kind that this version does not know, its fields."""
    sentence = _SENTENCES.get(str(line.get("line")))
    if sentence is not None:
        return sentence(line)
    return msgspec.json.encode({key: value for key, value in line.items() if key not in _FRAME}).decode()


def render_json(data: bytes, line: Row) -> str:
    """Return a line as JSON, byte for byte as it stands in the ledger unless it would command a terminal."""
    if data.isascii() and data.decode().isprintable():
        return data.decode()
    text = msgspec.json.encode(line).decode()
    return text if text.isprintable() else "".join(each if each.isprintable() else _escape(each) for each in text)


def _escape(character: str) -> str:
    """Return a character as JSON escapes it (RFC 8259 7): of those beyond the first 65,536 both halves."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
