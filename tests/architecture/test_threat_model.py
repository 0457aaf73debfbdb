# SPDX-License-Identifier: Apache-2.0
"""The threat model as a test: every class that broke others is there, and every test that stands for one exists."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.server.test_bypass import PASSED, REFUSED

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
CLASSES: Final = (
    "Path not normalised, or decoded differently",
    "Match on one thing, forward another",
    "Fragment in the target",
    "Query that leaks into the path's match",
    "Non-canonical target or request line",
    "Case of host and scheme",
    "Underscore and other aliases of fields",
    "Deletion by `Connection`",
    "Duplicate fields and lists",
    "Forwarded fields believed",
    "Forms of an address",
    "Algorithm and key of a token",
    "Claims of a token",
    "Failure of the key fetch",
    "Cache key too small",
    "Failing open",
    "A special way for some clients",
    "Bodies read differently",
    "A side door past client certificates",
    "Request smuggling",
    "Injection into logs",
    "Surprises in the policy's text",
    "The admin's surface",
    "Identity by address book",
)
ON_THE_WIRE: Final = {*range(1, 12), 13, 15, 17, 18, 20, 23}
"""Classes that bytes can show, which are therefore tried against a running gateway."""
ROWS: Final = re.findall(r"(?m)^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE)


@cache
def _tests_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    nodes = [(node.name, node.body) for node in tree.body if isinstance(node, ast.ClassDef)]
    functions = [(f"{name}::", body) for name, body in nodes] + [("", tree.body)]
    return frozenset(
        prefix + node.name
        for prefix, body in functions
        for node in body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    )


def test_every_class_is_there_in_order() -> None:
    assert [(int(number), title) for number, title, _, _ in ROWS] == list(enumerate(CLASSES, start=1))
    assert all(what.strip() for _, _, what, _ in ROWS)


@pytest.mark.parametrize(("number", "tests"), [(row[0], row[3]) for row in ROWS])
def test_every_test_that_stands_for_a_class_exists(number: str, tests: str) -> None:
    named = re.findall(r"`(tests/[^`:]+\.py)::([^`]+)`", tests)
    assert re.sub(r"`[^`]+`", "", tests).strip() == "", "something else than tests"
    assert named, f"no test stands for row {number}"
    for path, name in named:
        assert name in _tests_of(path), f"{path} has no {name}"


def test_what_bytes_can_show_is_sent_as_bytes() -> None:
    numbered = (re.match(r"(\d+): ", name) for name in (*REFUSED, *PASSED))
    assert {int(match[1]) for match in numbered if match} == ON_THE_WIRE
