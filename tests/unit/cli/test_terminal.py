# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.terminal import plain

COMMANDS = [
    pytest.param("\x1b[2J", "�[2J", id="clears the screen"),
    pytest.param("\x9b31m", "�31m", id="the same in one character of C1"),
    pytest.param("a\rb", "a�b", id="writes over the line"),
    pytest.param("a\x08b", "a�b", id="a step back"),
    pytest.param("a\nb", "a�b", id="another line"),
    pytest.param("\u202egnp.exe", "�gnp.exe", id="turns the direction of writing"),
    pytest.param("a\u2028b", "a�b", id="ends a line elsewhere"),
    pytest.param("a\u200bb", "a�b", id="nothing to see"),
    pytest.param("a\ud800b", "a�b", id="half a character"),
    pytest.param("日本 Türkiye", "日本 Türkiye", id="what people write"),
]


@pytest.mark.parametrize(("text", "shown"), COMMANDS)
def test_nothing_commands_a_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_lines_end_where_that_is_meant() -> None:
    assert plain("a\nb\x1b", keep_newlines=True) == "a\nb�"


@given(st.text())
def test_what_is_shown_is_printable_and_keeps_its_length(text: str) -> None:
    assert plain(text).isprintable()
    assert len(plain(text)) == len(text)
