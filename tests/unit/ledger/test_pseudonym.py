# SPDX-License-Identifier: Apache-2.0
"""Pseudonyms: keyed, stable over releases, apart by kind and by month, and useless without the key."""

import contextlib
import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.clock import parse_instant
from proxy.ledger.pseudonym import (
    CURSOR_KEY_BYTES,
    KEY_BYTES,
    FieldNames,
    KeyRing,
    KeyRingError,
    Pseudonyms,
    SubjectNames,
    begin_of,
    following,
    parse_period,
    period_of,
)

KEY = bytes(range(KEY_BYTES))
NAMES = Pseudonyms(KEY)
IDS = st.text(alphabet="abc0123456789-_.~|:", max_size=20)

WRONG_KEYS = [
    pytest.param(b"", id="no key"),
    pytest.param(bytes(KEY_BYTES - 1), id="one byte short"),
    pytest.param(bytes(KEY_BYTES + 1), id="one byte long"),
    pytest.param(KEY.hex().encode(), id="the hexadecimal digits in place of the bytes"),
]


def test_a_caller_keeps_the_name_that_earlier_releases_gave() -> None:
    assert NAMES.of_caller("corp|sato") == "4f9cdf4c7eb4c5a5bca0274836f4ea99"


def test_a_subject_keeps_the_name_that_earlier_releases_gave() -> None:
    assert NAMES.of_subject("users", "42") == "users:ad2c04a967f52debb2a76b294fa24714"


@given(st.text(), st.text())
def test_names_agree_exactly_when_the_callers_do(one: str, other: str) -> None:
    assert (NAMES.of_caller(one) == NAMES.of_caller(other)) == (one == other)


@given(IDS)
def test_another_key_gives_other_names(text: str) -> None:
    other = Pseudonyms(bytes(KEY_BYTES))
    assert other.of_caller(text) != NAMES.of_caller(text)
    assert other.of_subject("users", text) != NAMES.of_subject("users", text)


@given(IDS)
def test_the_same_key_gives_the_same_names_again(text: str) -> None:
    assert Pseudonyms(KEY).of_caller(text) == NAMES.of_caller(text)
    assert Pseudonyms(KEY).of_subject("users", text) == NAMES.of_subject("users", text)


@given(IDS)
def test_a_caller_and_a_subject_of_one_identifier_share_no_name(text: str) -> None:
    assert NAMES.of_subject("users", text).removeprefix("users:") != NAMES.of_caller(f"users|{text}")


@given(IDS)
def test_one_id_in_two_apis_is_two_subjects(text: str) -> None:
    assert NAMES.of_subject("users", text).split(":")[1] != NAMES.of_subject("orders", text).split(":")[1]


@given(IDS, IDS)
def test_naming_one_person_does_not_change_the_name_of_the_next(one: str, other: str) -> None:
    names = Pseudonyms(KEY)
    names.of_caller(one)
    names.of_subject("users", one)
    assert (names.of_caller(other), names.of_subject("users", other)) == (
        NAMES.of_caller(other),
        NAMES.of_subject("users", other),
    )


@given(st.text(alphabet=st.characters(categories=["L", "Cc", "Cs"]), max_size=20))
def test_whatever_text_an_issuer_signs_has_a_name_half_a_surrogate_pair_too(text: str) -> None:
    assert len(NAMES.of_caller(f"corp|{text}")) == 32


@pytest.mark.parametrize("key", WRONG_KEYS)
def test_a_key_of_another_length_is_refused_without_being_told(key: bytes) -> None:
    with pytest.raises(ValueError, match=f"has 32 bytes, not {len(key)}$"):
        Pseudonyms(key)


@pytest.mark.parametrize("render", [repr, str, "{}".format])
def test_no_rendering_shows_the_key(render: Callable[[object], str]) -> None:
    ring = KeyRing(KEY, {"2026-11": KEY[::-1]})
    for each in (NAMES, SubjectNames(KEY), ring, ring.names, ring.fields, [ring]):
        shown = render(each)
        for key in (KEY, KEY[::-1], ring.cursors):
            assert key.hex() not in shown
            assert repr(key)[2:-1] not in shown


def test_subjects_have_the_name_in_grants_that_the_key_gives() -> None:
    assert SubjectNames(KEY).of_subject("users", "42") == NAMES.of_subject("users", "42")


def test_a_field_keeps_the_name_that_earlier_releases_gave() -> None:
    assert FieldNames(KEY).of("corp|sato", "user.unique_id", "42") == "47c6d78bdbdb348371aa8e501b63ff69"


@given(st.tuples(IDS, IDS, IDS), st.tuples(IDS, IDS, IDS))
def test_names_of_fields_agree_exactly_when_audience_category_and_text_do(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    names = FieldNames(KEY)
    assert (names.of(*one) == names.of(*other)) == (one == other)


def test_a_field_shares_no_name_with_what_a_record_calls_somebody() -> None:
    named = {NAMES.of_caller("42"), NAMES.of_subject("", "42")[1:], FieldNames(KEY).of("", "", "42")}
    assert len(named) == 3


def test_fields_and_cursors_keep_their_names_over_the_months_and_change_with_the_key() -> None:
    ring, later = (
        KeyRing(KEY, {month: draw_from(seed)(KEY_BYTES)}) for seed, month in ((1, "2026-11"), (2, "2027-03"))
    )
    other = KeyRing(KEY[::-1], {"2026-11": draw_from(1)(KEY_BYTES)})
    assert ring.fields.of("a", "b", "c") == later.fields.of("a", "b", "c") != other.fields.of("a", "b", "c")
    assert ring.cursors == later.cursors != other.cursors
    assert len(ring.cursors) == CURSOR_KEY_BYTES
    assert KEY not in ring.cursors


@pytest.mark.parametrize("api", ["users", "人"])
def test_many_subjects_have_the_names_that_each_has(api: str) -> None:
    ids = ["42", "", "人", "\ud800", "42", "x" * 300]
    assert NAMES.of_subjects(api, ids) == [NAMES.of_subject(api, each) for each in ids]


# The ring.


def draw_from(seed: int) -> Callable[[int], bytes]:
    """Return a source of bytes that never gives the same ones twice."""
    counter = itertools.count(seed)
    return lambda size: next(counter).to_bytes(size, "big")


def a_ring(*periods: str) -> KeyRing:
    draw = draw_from(1)
    return KeyRing(draw(KEY_BYTES), {period: draw(KEY_BYTES) for period in periods})


def at(text: str) -> float:
    return parse_instant(f"{text}+00:00")


KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
PERIODS = st.builds("{:04d}-{:02d}".format, st.integers(2000, 2899), st.integers(1, 12))


@st.composite
def rings(draw: st.DrawFn) -> KeyRing:
    periods = draw(st.lists(PERIODS, unique=True, min_size=1, max_size=8))
    subjects, *keys = draw(st.lists(KEYS, unique=True, min_size=len(periods) + 1, max_size=len(periods) + 1))
    return KeyRing(subjects, dict(zip(periods, keys, strict=True)))


@given(rings())
def test_a_ring_that_is_written_is_read_back(ring: KeyRing) -> None:
    read = KeyRing.parse(ring.render())
    assert read.render() == ring.render()
    assert read == ring
    assert hash(read) == hash(ring)
    assert read != ring.extend("2999-01", 1, draw_from(2**200))
    assert read != "a ring"
    assert read.periods == ring.periods == tuple(sorted(ring.periods))
    assert read.subjects.of_subject("users", "42") == ring.subjects.of_subject("users", "42")


@given(rings(), IDS, st.data())
def test_a_person_has_one_name_in_a_period_and_another_in_every_other(ring: KeyRing, who: str, data: Any) -> None:
    one, other = (data.draw(st.sampled_from(ring.periods)) for _ in range(2))
    moment, later = (
        data.draw(st.floats(begin_of(each), begin_of(following(each)), exclude_max=True)) for each in (one, other)
    )
    assert ring.at(moment).of_caller(who) == ring.names[one].of_caller(who)
    assert (ring.at(moment).of_caller(who) == ring.at(later).of_caller(who)) == (one == other)
    assert (ring.at(moment).of_subject("users", who) == ring.at(later).of_subject("users", who)) == (one == other)
    assert ring.at(moment).of_subject("users", who) != ring.subjects.of_subject("users", who)


@given(rings(), IDS)
def test_without_a_period_nothing_gives_its_names(ring: KeyRing, who: str) -> None:
    period = ring.periods[-1]
    if len(ring.periods) == 1:
        with pytest.raises(KeyRingError, match="no key of a month"):
            ring.without(period)
        return
    rest = ring.without(period)
    name = ring.names[period].of_caller(who)
    assert name not in {names.of_caller(who) for names in rest.names.values()}
    assert {**rest.names}.keys() == set(ring.periods) - {period}
    assert rest.subjects.of_subject("users", who) == ring.subjects.of_subject("users", who)


MOMENTS = {
    "the first instant of a month": ("2026-11-01T00:00:00", "2026-11"),
    "the last instant of a month": ("2026-11-30T23:59:59.999999", "2026-11"),
    "the first of the next": ("2026-12-01T00:00:00", "2026-12"),
    "a new year": ("2027-01-01T00:00:00", "2027-01"),
    "an evening in Tokyo, which has that month already": ("2026-11-30T15:00:00", "2026-11"),
    "a leap day": ("2028-02-29T23:59:59", "2028-02"),
    "a month without a key, which has that of the latest before": ("2027-03-15T00:00:00", "2027-01"),
    "long after the last": ("2999-01-01T00:00:00", "2028-02"),
    "before the first": ("2001-01-01T00:00:00", "2026-10"),
}


@pytest.mark.parametrize(("moment", "period"), MOMENTS.values(), ids=MOMENTS.keys())
def test_a_month_is_one_of_utc(moment: str, period: str) -> None:
    ring = a_ring("2026-10", "2026-11", "2026-12", "2027-01", "2028-02")
    assert ring.period_at(at(moment)) == period
    assert ring.at(at(moment)) is ring.names[period]


def test_a_ring_of_which_no_month_has_begun_is_refused() -> None:
    ring = a_ring("2026-12")
    ring.check_begun(at("2026-12-01T00:00:00"))
    with pytest.raises(KeyRingError, match=r"first month is 2026-12, and it is 2026-11.*--extend"):
        ring.check_begun(at("2026-11-30T23:59:59"))


UNTIL = {
    "the month after the last": (("2026-11", "2026-12"), "2027-01-01"),
    "a gap to come": (("2026-11", "2027-01"), "2026-12-01"),
    "a gap in the past does not matter": (("2026-09", "2026-11"), "2026-12-01"),
    "this month itself": (("2026-09", "2026-10"), "2026-11-01"),
    "this month itself, though the next has one": (("2026-10", "2026-12"), "2026-11-01"),
}


@pytest.mark.parametrize(("periods", "end"), UNTIL.values(), ids=UNTIL.keys())
def test_until_when_each_month_has_a_key_of_its_own(periods: tuple[str, ...], end: str) -> None:
    assert a_ring(*periods).until(at("2026-11-22T06:00:00")) == at(f"{end}T00:00:00")


@given(rings(), PERIODS, st.integers(1, 40), IDS)
def test_extending_adds_what_is_missing_and_changes_nothing(ring: KeyRing, first: str, months: int, who: str) -> None:
    longer = ring.extend(first, months, draw_from(2**200))
    asked = {first}
    while len(asked) < months:
        asked.add(following(max(asked)))
    assert set(longer.periods) == {*ring.periods, *asked}
    for period in ring.periods:
        assert longer.names[period].of_caller(who) == ring.names[period].of_caller(who)
    assert longer.subjects.of_subject("users", who) == ring.subjects.of_subject("users", who)
    assert longer.extend(first, months, draw_from(0)).render() == longer.render()


def test_a_ring_is_made_of_as_many_months_as_told() -> None:
    ring = KeyRing.generate("2026-11", 3, draw_from(1))
    assert ring.periods == ("2026-11", "2026-12", "2027-01")
    assert len({ring.names[each].of_caller("corp|sato") for each in ring.periods}) == 3


@pytest.mark.parametrize(("first", "months"), [("2026-11", 0), ("2026-11", -1), ("2026-11", 601), ("2999-12", 2)])
def test_so_many_months_cannot_be_had(first: str, months: int) -> None:
    with pytest.raises(KeyRingError):
        KeyRing.generate(first, months, draw_from(1))


def test_a_forgotten_key_covered_the_months_without_one_behind_it() -> None:
    ring = a_ring("2026-08", "2026-09", "2026-12")
    assert ring.months_of("2026-08") == ("2026-08",)
    assert ring.months_of("2026-09") == ("2026-09", "2026-10", "2026-11")
    assert ring.months_of("2026-12") == ("2026-12",)


def test_comments_and_order_of_a_text_stay() -> None:
    ring = a_ring("2026-10", "2026-11")
    subjects, october, november = ring.render().splitlines()[-3:]
    text = f"# ours\n\n{november}\r\n  # of grants:\n{subjects}\n\t{october}"
    assert KeyRing.parse(text).render() == ring.render()
    longer = ring.without("2026-10").extend("2026-11", 2, draw_from(9))
    assert longer.rewrite(text) == (f"# ours\n\n{november}\r\n  # of grants:\n{subjects}\n2026-12 {9:064x}\n")


A, B, C = ("a1" * KEY_BYTES, "b2" * KEY_BYTES, "c3" * KEY_BYTES)
GOOD = f"subjects {A}\n2026-11 {B}\n"
BAD = {
    "nothing": ("", "no line `subjects KEY`.*sekisho keygen FILE"),
    "comments alone": ("# 2026-11\n\n", "no line `subjects KEY`"),
    "the bare key of earlier releases": (f"{A}\n", "line 1: it is one bare key.*put this key into its line `subjects`"),
    "no key of grants' subjects": (f"2026-11 {B}\n", "no line `subjects KEY`"),
    "no key of a month": (f"subjects {A}\n", "no key of a month: `sekisho keygen FILE`"),
    "a month twice": (f"{GOOD}\n2026-11 {C}\n", "line 4: the key of 2026-11 stands in line 2 already: keep"),
    "subjects twice": (f"{GOOD}subjects {C}\n", "line 3: the key `subjects` stands in line 1 already"),
    "one key for two months": (f"{GOOD}2026-12 {B}\n", r"line 3: the key of 2026-12 is that of line 2 \(2026-11\)"),
    "one key for two months, in capitals": (f"{GOOD}2026-12 {B.upper()}\n", "line 3: .* again"),
    "a month's key is that of subjects": (f"{GOOD}2026-12 {A}\n", r"line 3: .* line 1 \(subjects\)"),
    "a digit too few": (f"subjects {A[1:]}\n", "line 1: the key `subjects` is not 64 .* but 63 characters"),
    "a digit too many": (f"{GOOD}2026-12 {C}0\n", "line 3: the key of 2026-12 is not 64 .* but 65 characters"),
    "a letter that is no digit": (f"{GOOD}2026-12 {C[1:]}g\n", "line 3: the key of 2026-12 is not 64 hexadecimal"),
    "a month without a key": (f"{GOOD}2026-12\n", "line 3: nothing after `2026-12`"),
    "two keys in a line": (f"{GOOD}2026-12 {C} {C}\n", "line 3: 2 words after `2026-12`"),
    "a comment behind a key": (f"{GOOD}2026-12 {C} # ours\n", "line 3: 3 words after `2026-12`"),
    "a key before its month": (f"{GOOD}{C} 2026-12\n", "line 3: it begins neither"),
    "a thirteenth month": (f"{GOOD}2026-13 {C}\n", "line 3: it begins neither"),
    "a month of one digit": (f"{GOOD}2026-1 {C}\n", "line 3: it begins neither"),
    "a day": (f"{GOOD}2026-11-01 {C}\n", "line 3: it begins neither"),
    "a year long past": (f"{GOOD}1026-11 {C}\n", "line 3: it begins neither"),
    "digits of another script": (f"{GOOD}２026-12 {C}\n", "line 3: it begins neither"),
    "capitals": (f"Subjects {A}\n", "line 1: it begins neither"),
    "an equals sign": (f"subjects={A}\n", "line 1: it begins neither"),
    "a byte order mark": (f"\ufeff{GOOD}", "line 1: it begins neither"),
}


@pytest.mark.parametrize(("text", "told"), BAD.values(), ids=BAD.keys())
def test_what_is_no_ring_says_where_and_what_to_do(text: str, told: str) -> None:
    with pytest.raises(KeyRingError) as caught:
        KeyRing.parse(text)
    message = str(caught.value)
    assert re.search(told, message, re.DOTALL), message
    assert "\n" not in message
    for key in (A, B, C):
        for start in range(0, len(key) - 8, 2):
            assert key[start : start + 8] not in message.casefold(), "no part of a key is shown"


@given(st.text(alphabet="subject 2026-1\n#abcdef\r\t\x00é") | st.text())
def test_whatever_stands_there_is_a_ring_or_an_error(text: str) -> None:
    for each in (text, GOOD + text):
        with contextlib.suppress(KeyRingError):
            assert KeyRing.parse(each).render()


@given(st.floats(begin_of("2000-01"), begin_of("2999-12")))
def test_a_moment_lies_in_its_month(now: float) -> None:
    period = parse_period(period_of(now))
    assert begin_of(period) <= now
    assert now < begin_of(following(period)) or now == pytest.approx(begin_of(following(period)), abs=1e-3)


@pytest.mark.parametrize("text", ["", "2026", "2026-00", "2026-13", "2026-1", "2026-11 ", "subjects", "1999-12"])
def test_what_is_no_month_is_told(text: str) -> None:
    with pytest.raises(KeyRingError, match="is no month such as 2026-11"):
        parse_period(text)
