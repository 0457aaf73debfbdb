# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.bundle.read import (
    MAX_DEPTH,
    MAX_FILE_BYTES,
    MAX_PROBLEMS,
    Document,
    FileProblem,
    escape_unseen,
    parse_document,
    read_bytes,
)

CHECKED = settings(max_examples=200)


def value_of(data: bytes) -> Any:
    document, problems = parse_document(data, "f")
    assert document is not None, problems
    assert not problems
    return document.value


def problems_of(data: bytes) -> list[str]:
    document, problems = parse_document(data, "f")
    assert document is None
    assert problems, "a file that is not read says why"
    return [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("data", "value"),
    [
        pytest.param(b"a: NO", {"a": "NO"}, id="NO stays Norway"),
        pytest.param(b"a: [no, yes, on, off, y, n]", {"a": ["no", "yes", "on", "off", "y", "n"]}, id="no booleans"),
        pytest.param(b"a: 010", {"a": "010"}, id="no octal"),
        pytest.param(b"a: 1_000", {"a": "1_000"}, id="no digits with underscores"),
        pytest.param(b"a: 22:22", {"a": "22:22"}, id="no base sixty"),
        pytest.param(b"a: 1e3", {"a": "1e3"}, id="no floats"),
        pytest.param(b"a: .nan", {"a": ".nan"}, id="no NaN"),
        pytest.param(b"a: 2027-06-30", {"a": "2027-06-30"}, id="no dates"),
        pytest.param(b"a: ~\nb: null\nc:", {"a": "~", "b": "null", "c": ""}, id="no nulls"),
        pytest.param(b"a: 'it''s'", {"a": "it's"}, id="single quotes"),
        pytest.param(b'a: "\\u65e5"', {"a": "\u65e5"}, id="double quotes"),
        pytest.param(b"a: |\n  x\n  y\n", {"a": "x\ny\n"}, id="a block of text"),
        pytest.param(b"- a\n- [b, {c: d}]", ["a", ["b", {"c": "d"}]], id="a list at the top"),
        pytest.param(b"just text", "just text", id="a text at the top"),
        pytest.param("a: \u65e5\u672c".encode(), {"a": "\u65e5\u672c"}, id="UTF-8"),
        pytest.param(b"a: 1\r\nb: 2\r\n", {"a": "1", "b": "2"}, id="line ends of Windows"),
        pytest.param(b"a: 1\n...\n", {"a": "1"}, id="an end of document"),
        pytest.param(b"{}", {}, id="an empty mapping"),
    ],
)
def test_every_scalar_stays_text(data: bytes, value: Any) -> None:
    assert value_of(data) == value


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", "f:1:1: the file is empty", id="nothing"),
        pytest.param(b"# only\n# comments\n", "f:1:1: the file is empty", id="only comments"),
        pytest.param(b"x: &a 1", "f:1:4: anchors", id="an anchor"),
        pytest.param(b"x: &a [1]", "f:1:4: anchors", id="an anchor on a list"),
        pytest.param(b"&a x: 1", "f:1:1: anchors", id="an anchor on a key"),
        pytest.param(b"x: *a", "f:1:4: aliases", id="an alias"),
        pytest.param(b"*a : 1", "f:1:1: aliases", id="an alias as a key"),
        pytest.param(b"- x\n- *a", "f:2:3: aliases", id="an alias in a list"),
        pytest.param(b"x: !!int 1", "f:1:4: tags", id="a tag"),
        pytest.param(b"x: ! 1", "f:1:4: tags", id="the tag that is none"),
        pytest.param(b"x: !!python/object/apply:os.system [id]", "f:1:4: tags", id="a tag that calls"),
        pytest.param(b"!!map {x: 1}", "f:1:1: tags", id="a tag at the top"),
        pytest.param(b"x: 1\ny: 2\nx: 3", "f:3:1: 'x' stands twice, first in line 1", id="a key twice"),
        pytest.param(b"{x: 1, x: 1}", "f:1:8: 'x' stands twice", id="a key twice, the same value"),
        pytest.param(b"x: 1\n'x': 2", "f:2:1: 'x' stands twice", id="a key twice, once in quotes"),
        pytest.param(b"a:\n  - x: 1\n    x: 2", "f:3:5: 'x' stands twice", id="a key twice, further down"),
        pytest.param(b"x: *a\nx: 2", "f:2:1: 'x' stands twice", id="a key twice, first with an alias"),
        pytest.param(b"? [x, y]\n: 1", "f:1:3: a key must be", id="a list as a key"),
        pytest.param(b"{? {x: y} : 1}", "f:1:4: a key must be", id="a mapping as a key"),
        pytest.param(b"a: 1\n---\nb: 2", "f:2:1: a second document", id="two documents"),
        pytest.param(b"a: 1\n...\nb: 2", "f:3:1: ", id="more behind the end"),
        pytest.param(b"\ta: 1", "f:1:1: no YAML", id="a tab"),
        pytest.param(b"a:\n\t- b", "f:2:1: no YAML", id="a tab for indentation"),
        pytest.param(b"a: [1, 2\n", "f:2:1: no YAML", id="a list that is not closed"),
        pytest.param(b"a: 'x", "f:1:6: no YAML", id="a quote that is not closed"),
        pytest.param(b"a: b: c", "f:1:5: no YAML", id="a mapping in a value"),
        pytest.param(b"a: 1\n b: 2", "f:2:3: no YAML", id="a line indented alone"),
        pytest.param(b"a: b\nc: \xff", "f:2:1: the file is not UTF-8", id="no UTF-8"),
        pytest.param("a: é".encode("latin-1"), "f:1:1: the file is not UTF-8", id="Latin-1"),
        pytest.param("a: 1".encode("utf-16"), "f:1:1: the file is not UTF-8", id="UTF-16"),
        pytest.param(b'a: "\\ud800"', "f:1:7: no YAML", id="half a character"),
        pytest.param(b"a: b\nc: \x07", "f:2:", id="a control character"),
        pytest.param(b"a: b\nc: \x00", "f:2:", id="a NUL"),
        pytest.param(b"a: @b", "f:1:4: no YAML", id="a reserved character"),
    ],
)
def test_what_would_read_differently_to_others_is_refused_with_its_place(data: bytes, expected: str) -> None:
    assert any(problem.startswith(expected) for problem in problems_of(data)), problems_of(data)


@pytest.mark.parametrize(
    "character",
    [
        pytest.param("\u0085", id="NEXT LINE"),
        pytest.param("\u2028", id="LINE SEPARATOR"),
        pytest.param("\u2029", id="PARAGRAPH SEPARATOR"),
        pytest.param("\r", id="a lone carriage return"),
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: 1\n# a comment that goes on{}b: 2\n", id="a comment that ends unseen"),
        pytest.param("a: 1{}b: 2\n", id="two keys on what editors show as one line"),
    ],
)
def test_a_line_that_editors_do_not_see_end_does_not_end(text: str, character: str) -> None:
    """YAML 1.1 ends lines where YAML 1.2, git and editors do not: a hidden rule in a comment would be in force."""
    document, _ = parse_document(text.format(character).encode(), "f")
    assert document is None or "b" not in document.value, document.value


def test_a_byte_order_mark_at_the_very_beginning_is_taken() -> None:
    assert value_of("\ufeffa: 1\nb: 2\n".encode()) == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a:\n\ufeffb: 1\n", id="as indentation that nobody sees"),
        pytest.param("a: 1\n\ufeffb: 2\n", id="before a key"),
        pytest.param("a:\n- x: 1\n\ufeff  y: 2\n", id="before spaces"),
    ],
)
def test_a_byte_order_mark_further_on_is_refused(text: str) -> None:
    document, _ = parse_document(text.encode(), "f")
    assert document is None, document


def test_every_problem_of_a_file_is_told_at_once() -> None:
    problems = problems_of(b"a: &x 1\nb: *x\nc: !t 1\nc: 2\n? [d]\n: 3\n")
    assert [problem.split(" ")[0] for problem in problems] == ["f:1:4:", "f:2:4:", "f:3:4:", "f:4:1:", "f:5:3:"]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            b"a: &a [x,x,x,x,x,x,x,x,x]\n"
            + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 110)),
            id="a billion laughs",
        ),
        pytest.param(b"a: &a [*a]", id="a list that holds itself"),
        pytest.param(b"[" * 1_000_000, id="a million open brackets"),
        pytest.param(b"{a: " * 300_000, id="mappings in mappings"),
        pytest.param(b"- " * 500_000, id="lists in lists"),
        pytest.param(b"? " * 500_000, id="keys in keys"),
        pytest.param(b"a: &x 1\n" * 50_000, id="nothing but problems"),
        pytest.param(b"\n".join(b" " * n + b"a:" for n in range(2000)), id="ever deeper indentation"),
    ],
)
@pytest.mark.timeout(5)
def test_a_hostile_file_ends_soon(data: bytes) -> None:
    assert 0 < len(problems_of(data)) <= MAX_PROBLEMS


@pytest.mark.parametrize(("depth", "is_read"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_the_depth_is_bounded(depth: int, is_read: bool) -> None:  # noqa: FBT001
    document, problems = parse_document(b"[" * depth + b"]" * depth, "f")
    assert (document is not None) is is_read
    assert is_read or str(problems[0]).startswith(f"f:1:{MAX_DEPTH + 1}: nested deeper")


@pytest.mark.parametrize(("more", "words"), [(0, "no YAML"), (1, "larger than 16 MiB")])
def test_the_size_is_bounded(tmp_path: Path, more: int, words: str) -> None:
    file = tmp_path / "f.yaml"
    with file.open("wb") as stream:
        stream.truncate(MAX_FILE_BYTES + more)
    data = read_bytes(file, "f", MAX_FILE_BYTES)
    (problem,) = [data] if isinstance(data, FileProblem) else parse_document(data, "f")[1][:1]
    assert words in problem.message


@pytest.mark.parametrize("make", ["missing", "folder"])
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path, make: str) -> None:
    path = tmp_path / "x.yaml"
    if make == "folder":
        path.mkdir()
    assert str(read_bytes(path, "x.yaml", MAX_FILE_BYTES)).startswith("x.yaml:1:1: the file cannot be read: ")


LOCATED = b"""\
a:
  - x: 1
    y: [p, "q"]
  - {z: 2,
     w: 3}
b: text
"""


@pytest.mark.parametrize(
    ("path", "at_key", "expected"),
    [
        pytest.param((), False, (1, 1), id="the whole file"),
        pytest.param(("a",), True, (1, 1), id="a key"),
        pytest.param(("a",), False, (2, 3), id="a list, where its first entry begins"),
        pytest.param(("a", 0, "x"), False, (2, 8), id="a value in an entry"),
        pytest.param(("a", 0, "y", 1), False, (3, 12), id="a quoted value"),
        pytest.param(("a", 1, "w"), True, (5, 6), id="a key in braces over two lines"),
        pytest.param(("b",), False, (6, 4), id="a text"),
        pytest.param(("a", 0, "missing"), True, (2, 5), id="what is missing: the nearest thing above"),
        pytest.param(("a", 7, "x"), False, (2, 3), id="an entry that is not there"),
        pytest.param(("b", "x", 3), False, (6, 4), id="inside a text"),
        pytest.param(("nowhere",), False, (1, 1), id="nothing of it"),
    ],
)
def test_a_path_is_found(path: tuple[str | int, ...], at_key: bool, expected: tuple[int, int]) -> None:  # noqa: FBT001
    document, _ = parse_document(LOCATED, "f")
    assert document is not None
    assert document.locate(path, at_key=at_key) == expected


@CHECKED
@given(
    st.binary(max_size=60)
    | st.text(st.sampled_from("ab:,-?&*!|>'\"%@`[]{}# \n\t\r<=.\\0~\ufeff\u2028"), max_size=40).map(str.encode)
)
def test_any_bytes_are_a_document_or_problems_with_places(data: bytes) -> None:
    document, problems = parse_document(data, "f")
    assert (document is None) == bool(problems)
    assert all(problem.line >= 1 and problem.column >= 1 and problem.message for problem in problems)
    if document is not None:
        assert _is_plain(document.value)


@CHECKED
@given(
    st.lists(
        st.sampled_from(
            ["a: ", "b: ", "*x", "&x ", "!t ", "? ", ": ", "- ", "[", "]", "{", "}", ",", "a", "\n", "\n  ", "---\n"]
        ),
        max_size=25,
    ).map("".join)
)
def test_any_words_of_yaml_are_a_document_or_problems(text: str) -> None:
    document, problems = parse_document(text.encode(), "f")
    assert (document is None) == bool(problems)


def _is_plain(value: Any) -> bool:
    if type(value) is dict:
        return all(type(key) is str and _is_plain(inner) for key, inner in value.items())
    if type(value) is list:
        return all(map(_is_plain, value))
    return type(value) is str


VALUES = st.recursive(
    st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@CHECKED
@given(st.dictionaries(st.text(max_size=5), VALUES, min_size=1, max_size=4), st.booleans())
def test_what_is_written_in_quotes_is_read_back_where_it_stands(value: Any, flow: bool) -> None:  # noqa: FBT001
    text = yaml.safe_dump(value, default_style='"', default_flow_style=flow, width=1000)
    document, problems = parse_document(_without_tags(text).encode(), "f")
    assert document is not None, problems
    assert document.value == value
    for path, scalar in _scalars(value):
        line, column = document.locate(path, at_key=False)
        assert _read_scalar(_without_tags(text), line, column) == scalar


def _without_tags(text: str) -> str:
    return text.replace("!!map ", "").replace("!!seq ", "")


def _scalars(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        return [(path, value)]
    inside: Any = value.items() if isinstance(value, dict) else enumerate(value)
    return [found for step, inner in inside for found in _scalars(inner, (*path, step))]


def _read_scalar(text: str, line: int, column: int) -> Any:
    rest = "\n".join([text.split("\n")[line - 1][column - 1 :], *text.split("\n")[line:]])
    return next(event.value for event in yaml.parse(rest) if isinstance(event, yaml.ScalarEvent))


def test_a_document_keeps_the_name_that_problems_use() -> None:
    document, _ = parse_document(b"a: 1", "rules/deny.yaml")
    assert isinstance(document, Document)
    assert document.name == "rules/deny.yaml"


@CHECKED
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\ufffe\uffff\x00")))
def test_json_with_everything_unseen_escaped_reads_as_it_was(text: str) -> None:
    written = escape_unseen(json.dumps({"a": [text]}, ensure_ascii=False))
    assert value_of(written.encode()) == {"a": [text]}
