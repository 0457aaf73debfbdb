# SPDX-License-Identifier: Apache-2.0
"""The trace that a request belongs to: forwarded as it came, or not at all; and no other text by that name."""

import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.request.trace import take_trace

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT: Final = "00f067aa0ba902b7"
VALID: Final = f"00-{TRACE}-{PARENT}-01"
OTHER: Final = ("Accept", "*/*")

VALID_PARENTS = {
    "sampled": VALID,
    "not sampled": f"00-{TRACE}-{PARENT}-00",
    "with flags that nobody knows yet": f"00-{TRACE}-{PARENT}-ff",
    "of a later version": f"cc-{TRACE}-{PARENT}-01",
    "of a later version, with more behind it": f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like",
    "of a later version, with a dash behind it": f"01-{TRACE}-{PARENT}-01-",
    "of the last version": f"fe-{TRACE}-{PARENT}-01",
    "of a later version, as long as it may be": f"01-{TRACE}-{PARENT}-01-{'a' * 200}",
    "with a trace id that is nearly all zeros": f"00-{'0' * 31}1-{PARENT}-01",
    "with a parent id that is nearly all zeros": f"00-{TRACE}-{'0' * 15}1-01",
}
INVALID_PARENTS = {
    "empty": "",
    "of version ff": f"ff-{TRACE}-{PARENT}-01",
    "of an upper-case version": f"CC-{TRACE}-{PARENT}-01",
    "of a version of one digit": f"0-{TRACE}-{PARENT}-01",
    "of a version of three digits": f"000-{TRACE}-{PARENT}-01",
    "of a version that is no number": f".0-{TRACE}-{PARENT}-01",
    "of version 00, with more behind it": f"{VALID}-extra",
    "of version 00, with a dash behind it": f"{VALID}-",
    "of version 00, with a point behind it": f"{VALID}.",
    "of a later version, with more behind a point": f"cc-{TRACE}-{PARENT}-01.what",
    "of a later version, without flags": f"cc-{TRACE}-{PARENT}",
    "of a later version, longer than it may be": f"01-{TRACE}-{PARENT}-01-{'a' * 201}",
    "of a later version, with a blank": f"01-{TRACE}-{PARENT}-01-a b",
    "of a later version, with letters of no alphabet of ours": f"01-{TRACE}-{PARENT}-01-\xe9",
    "with a trace id of zeros": f"00-{'0' * 32}-{PARENT}-01",
    "of a later version, with a trace id of zeros": f"01-{'0' * 32}-{PARENT}-01",
    "with a parent id of zeros": f"00-{TRACE}-{'0' * 16}-01",
    "with an upper-case trace id": f"00-{TRACE.upper()}-{PARENT}-01",
    "with an upper-case parent id": f"00-{TRACE}-{PARENT.upper()}-01",
    "with upper-case flags": f"00-{TRACE}-{PARENT}-0A",
    "with a trace id that is too short": f"00-{TRACE[1:]}-{PARENT}-01",
    "with a trace id that is too long": f"00-{TRACE}0-{PARENT}-01",
    "with a parent id that is too short": f"00-{TRACE}-{PARENT[1:]}-01",
    "with a parent id that is too long": f"00-{TRACE}-{PARENT}0-01",
    "with flags of one digit": f"00-{TRACE}-{PARENT}-1",
    "with flags of three digits": f"00-{TRACE}-{PARENT}-001",
    "with letters where digits are": f"00-{'z' * 32}-{PARENT}-01",
    "with digits of another alphabet": f"00-{'١' * 32}-{PARENT}-01",
    "with blanks for dashes": VALID.replace("-", " "),
    "with a line's end behind it": f"{VALID}\n",
    "two in one field": f"{VALID},{VALID}",
}


@pytest.mark.parametrize("value", VALID_PARENTS.values(), ids=VALID_PARENTS)
@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
def test_a_trace_is_forwarded_as_it_came(name: str, value: str) -> None:
    fields = (OTHER, (name, value), ("TraceState", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"), OTHER)
    trace, going_on = take_trace(fields)
    assert trace == value[3:35]
    assert going_on == fields


@pytest.mark.parametrize("value", INVALID_PARENTS.values(), ids=INVALID_PARENTS)
def test_what_is_no_trace_goes_nowhere_and_neither_does_its_state(value: str) -> None:
    fields = (OTHER, ("Traceparent", value), ("Tracestate", "congo=t61rcWkgMzE"), OTHER)
    assert take_trace(fields) == ("", (OTHER, OTHER))


@pytest.mark.parametrize("second", [VALID, f"00-{TRACE[::-1]}-{PARENT}-01", ""], ids=["the same", "another", "empty"])
def test_two_parents_are_none(second: str) -> None:
    fields = (("traceparent", VALID), OTHER, ("TraceParent", second), ("tracestate", "a=1"))
    assert take_trace(fields) == ("", (OTHER,))


def test_a_state_without_a_parent_goes_nowhere() -> None:
    assert take_trace((OTHER, ("tracestate", "a=1"))) == ("", (OTHER,))


def test_a_request_without_a_trace_is_left_as_it_is() -> None:
    fields = (OTHER, ("Trace-Parent", VALID), ("traceparents", VALID), ("x-trace-id1", "1"), ("tracestates", "a=1"))
    assert take_trace(fields) == ("", fields)


MEMBER: Final = "k=v"
STATES = {
    "one member": (["congo=t61rcWkgMzE"], True),
    "several": (["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], True),
    "several fields": (["rojo=1", "congo=2, eu=3"], True),
    "blanks and tabs round members": ([" a=1 \t,\t b=2 "], True),
    "members that are empty": (["a=1,,", ",b=2"], True),
    "a key of a tenant": (["fw529a3039@dt=FfffffCI0"], True),
    "a key that begins with a digit": (["0a-_*/@z=1"], True),
    "the longest key": ([f"{'k' * 256}=1"], True),
    "the longest value": ([f"k={'v' * 256}"], True),
    "blanks inside a value": (["k=a b"], True),
    "every character of a value": (["k=" + "".join(map(chr, [*range(33, 44), *range(45, 61), *range(62, 127)]))], True),
    "as many as there may be": ([",".join(f"k{number}=v" for number in range(32))], True),
    "one more": ([",".join(f"k{number}=v" for number in range(33))], False),
    "one more, in two fields": ([",".join(f"k{number}=v" for number in range(16))] * 2 + ["z=1"], False),
    "empty": ([""], False),
    "empty in two fields": (["", " , "], False),
    "a key twice": (["a=1,b=2,a=3"], False),
    "a key twice, in two fields": (["a=1", "a=1"], False),
    "no value": (["a="], False),
    "no key": (["=1"], False),
    "no sign": (["a"], False),
    "two signs": (["a=b=c"], False),
    "an upper-case key": (["A=1"], False),
    "a blank in a key": (["a b=1"], False),
    "a blank before the sign": (["a =1"], False),
    "a key that is too long": ([f"{'k' * 257}=1"], False),
    "a value that is too long": ([f"k={'v' * 257}"], False),
    "a tab in a value": (["k=a\tb"], False),
    "letters of no alphabet of ours": (["k=\xe9"], False),
    "one member that is none": (["a=1,b"], False),
}


@pytest.mark.parametrize(("values", "is_state"), STATES.values(), ids=STATES)
def test_a_state_that_is_none_is_dropped_and_its_parent_goes_on(values: list[str], is_state: bool) -> None:  # noqa: FBT001
    fields = (("traceparent", VALID), *(("tracestate", value) for value in values), OTHER)
    expected = fields if is_state else (("traceparent", VALID), OTHER)
    assert take_trace(fields) == (TRACE, expected)


class Unread(str):
    """A value that nobody may look into."""

    __slots__ = ()

    def split(self, *_args: object) -> list[str]:
        """Be looked into."""
        raise AssertionError("it was taken apart before it was counted")


def test_a_state_of_thousands_of_members_is_dropped_without_a_look_at_them() -> None:
    fields = (("traceparent", VALID), ("tracestate", Unread("a=1," * 4000)), ("tracestate", "a=1"), OTHER)
    assert take_trace(fields) == (TRACE, (("traceparent", VALID), OTHER))


# Whatever is sent.

SPEC: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")
NEARLY: Final = st.from_regex(
    r"([0-9a-f]{2}|00|ff)-([0-9a-f]{31,33}|0{32})-([0-9a-f]{16}|0{16})-[0-9a-f]{2}(-.*)?", fullmatch=True
)
VALUES: Final = st.one_of(st.text(max_size=60), NEARLY, st.just(VALID))
FIELDS: Final = st.lists(
    st.tuples(
        st.sampled_from(["traceparent", "Traceparent", "tracestate", "accept"]), st.one_of(VALUES, st.just("a=1"))
    ),
    max_size=6,
)


@given(FIELDS)
def test_whatever_is_sent_what_goes_on_is_a_trace_by_its_form_and_nothing_is_added(
    fields: list[tuple[str, str]],
) -> None:
    trace, going_on = take_trace(tuple(fields))
    rest = iter(fields)
    assert all(field in rest for field in going_on)
    others = tuple([each for each in fields if each[0] == "accept"])
    assert tuple([each for each in going_on if each[0] == "accept"]) == others
    parents = [value for name, value in going_on if name.lower() == "traceparent"]
    assert len(parents) == (1 if trace else 0)
    for value in parents:
        assert SPEC.fullmatch(value)
        assert value[3:35] == trace
        assert not value.startswith("ff")
        assert trace.strip("0")
        assert value[36:52].strip("0")
        assert len(value) == 55 or not value.startswith("00")
    assert trace or going_on == others
    assert take_trace(going_on) == (trace, going_on)
