# SPDX-License-Identifier: Apache-2.0
from typing import Any, Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deploy.monitoring.yaml_text import WIDTH, Noted, Spaced, write

WORDS: Final = st.text("aZy09 :#-'\"{}[]&*!|>%@`~,?\\\té関", max_size=20)
SENTENCES: Final = st.lists(st.text("abc:#{}$'\"-", min_size=1, max_size=9), min_size=1, max_size=60).map(" ".join)
BLOCKS: Final = st.lists(st.text("ab {}#:", min_size=1, max_size=9).map(str.strip).filter(bool), min_size=2).map(
    "\n".join
)
SCALARS: Final = WORDS | SENTENCES | BLOCKS | st.integers() | st.booleans()
KEYS: Final = st.sampled_from(["name", "rules", "for", "labels"])
NODES: Final = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner.filter(lambda node: not isinstance(node, list)), max_size=3)
        | st.dictionaries(KEYS, inner, min_size=1, max_size=4)
    ),
    max_leaves=12,
)


WRITTEN: Final = f"""\
# One
# Two
rules:
  - alert: A
    # Why.
    # - first
    # - second
    expr: |-
      a
        or
      b
    for: 5m

  - alert: B
    text: >-
      {("word " * 23).strip()}
      {"word " * 7}end
    summary: "Denied: {{{{ $value }}}}"
    at:
      - 1
      - true
"""


def read(text: str) -> Any:
    return yaml.safe_load(text)  # noqa: TID251 - what we have written ourselves


@given(document=st.dictionaries(KEYS, NODES, min_size=1, max_size=4))
def test_what_is_written_is_what_is_read(document: dict[str, Any]) -> None:
    assert read(write(document, "header")) == document


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "NO",
        "null",
        "~",
        "1",
        "0x1f",
        "1e3",
        "2026-11-22",
        "- a",
        "a: b",
        "a #b",
        "a:",
        " a",
        "*a",
        "&a",
        "",
        "a\t#b",
        "a:\tb",
    ],
)
def test_text_that_yaml_takes_for_something_else_stays_text(text: str) -> None:
    assert read(write({"is": text}, "header")) == {"is": text}


def test_a_document_reads_as_a_person_would_have_written_it() -> None:
    first = {"alert": "A", "expr": Noted("a\n  or\nb", "Why.\n- first\n- second"), "for": "5m"}
    second = {"alert": "B", "text": "word " * 30 + "end", "summary": "Denied: {{ $value }}", "at": [1, True]}
    assert write({"rules": Spaced([first, second])}, "One\nTwo") == WRITTEN


def test_comments_are_wrapped_and_what_is_listed_hangs() -> None:
    lines = write({"a": Noted(1, "- " + "word " * 40)}, "header").splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    assert [line[:4] for line in lines[1:-1]] == ["# - ", "#   "]
