# SPDX-License-Identifier: Apache-2.0
import pytest

from proxy.subject.register import Prefixes, Ranges, Table

PREFIXES = Prefixes({"8": ("KR",), "81": ("JP",), "8190": ("JP", "TW"), "886": ("TW",)}, (4, 3, 2, 1))
RANGES = Ranges((0, 100, 5000), (9, 199, 5000), (("JP",), ("TW",), ("JP", "KR")), 4)


def test_a_table_knows_what_stands_in_it() -> None:
    table = Table({"1": ("JP",), "2": ("JP;TW",)})
    assert [table.find(id_) for id_ in ("1", "2", "01", "")] == [("JP",), ("JP", "TW"), (), ()]


@pytest.mark.parametrize(
    ("id_", "countries"),
    [
        ("8190-1", ("JP", "TW")),
        ("8190", ("JP", "TW")),
        ("819", ("JP",)),
        ("81", ("JP",)),
        ("8861", ("TW",)),
        ("88", ("KR",)),
        ("8", ("KR",)),
        ("9", ()),
        ("", ()),
        ("+81", ()),
    ],
)
def test_the_longest_prefix_counts(id_: str, countries: tuple[str, ...]) -> None:
    assert PREFIXES.find(id_) == countries


@pytest.mark.parametrize(
    ("id_", "countries"),
    [
        ("0", ("JP",)),
        ("9", ("JP",)),
        ("10", ()),
        ("100", ("TW",)),
        ("199", ("TW",)),
        ("200", ()),
        ("5000", ("JP", "KR")),
        ("5001", ()),
        ("007", ()),
        ("+7", ()),
        ("-1", ()),
        ("7.0", ()),
        ("٧", ()),
        ("²", ()),
        ("", ()),
        ("9" * 10_000, ()),
    ],
)
def test_a_number_is_in_one_range_or_none(id_: str, countries: tuple[str, ...]) -> None:
    assert RANGES.find(id_) == countries


def test_numbers_below_the_first_range_are_in_none() -> None:
    assert Ranges((5,), (9,), (("JP",),), 1).find("4") == ()
