# SPDX-License-Identifier: Apache-2.0
"""Our exceptions: one tree, as its docstring draws it, and messages that arrive whole."""

import copy
import inspect
import re

import pytest

from proxy import errors
from proxy.errors import BundleError, SekishoError

OURS = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, Exception)]
PROBLEMS = ("a.yaml:1:2: is wrong", "b.yaml:3:4: is wrong too")


@pytest.mark.parametrize("kind", OURS)
def test_every_exception_is_ours_and_drawn_in_the_tree(kind: type[Exception]) -> None:
    assert issubclass(kind, SekishoError)
    assert re.search(rf"^[ │]*(├─ |└─ )?{kind.__name__} ", errors.__doc__ or "", re.MULTILINE)


def test_nothing_is_drawn_that_is_not_there() -> None:
    drawn = re.findall(r"^[ │]+[├└]─ (\w+) ", errors.__doc__ or "", re.MULTILINE)
    assert sorted([*drawn, "SekishoError"]) == sorted(kind.__name__ for kind in OURS)


def test_none_of_ours_is_caught_as_an_error_of_the_system() -> None:
    assert [kind for kind in OURS if issubclass(kind, (OSError, ValueError, RuntimeError))] == []


def test_a_bundle_error_carries_and_says_every_problem() -> None:
    error = BundleError(list(PROBLEMS))
    assert (error.problems, str(error)) == (PROBLEMS, "\n".join(PROBLEMS))


def test_a_bundle_error_without_problems_is_still_one() -> None:
    assert (BundleError([]).problems, str(BundleError([]))) == ((), "")


def test_a_bundle_error_that_was_copied_as_between_processes_carries_the_same_problems() -> None:
    copied = copy.copy(BundleError(PROBLEMS))
    assert (copied.problems, str(copied)) == (PROBLEMS, "\n".join(PROBLEMS))
