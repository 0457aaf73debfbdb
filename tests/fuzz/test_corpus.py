# SPDX-License-Identifier: Apache-2.0

import importlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import CORPUS, TARGETS, find_rows

FUZZED = {name: getattr(importlib.import_module(module), f"fuzz_{name}") for name, module in TARGETS.items()}
ROWS = {name: find_rows(name) for name in TARGETS if find_rows(name)}
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file())

PATCHES = (b"", b"\r\n", b"\r", b"\n", b" ", b":", b";", b"0")


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.parent.name for path in FILES} == {*TARGETS}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_corpus_brings_nothing_down(path: Path) -> None:
    FUZZED[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", ROWS)
def test_nor_does_any_example_of_the_table_of_strictness(name: str) -> None:
    for row in ROWS[name]:
        FUZZED[name](row.example)


@st.composite
def nearly(draw: st.DrawFn, name: str) -> bytes:
    """Something of the corpus, changed in a few places."""
    seeds = [path.read_bytes() for path in FILES if path.parent.name == name]
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        patch = draw(st.one_of(st.sampled_from(PATCHES), st.binary(max_size=3)))
        data = data[:at] + patch + data[at + draw(st.integers(0, 3)) :]
    return data


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=50)
@given(data=st.data())
def test_nor_does_what_is_nearly_of_it(name: str, data: st.DataObject) -> None:
    FUZZED[name](data.draw(nearly(name)))
