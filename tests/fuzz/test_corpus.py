# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import parsers, protocols
from tests.fuzz.__main__ import PARSERS, CORPUS, TARGETS

FUZZED = {
    name: getattr(parsers if module == PARSERS else protocols, f"fuzz_{name}") for name, module in TARGETS.items()
}
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file())


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.parent.name for path in FILES} == {*TARGETS}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_corpus_brings_nothing_down(path: Path) -> None:
    FUZZED[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=300))
def test_nor_does_anything_else(name: str, data: bytes) -> None:
    FUZZED[name](data)
