# SPDX-License-Identifier: Apache-2.0

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from proxy.model.entry import Country, Date, Entry, Flag, Id, Instant, Share, Text, choice, refuse

READERS: dict[str, TypeAdapter[object]] = {
    "id": TypeAdapter(Id),
    "country": TypeAdapter(Country),
    "flag": TypeAdapter(Flag),
    "instant": TypeAdapter(Instant),
    "date": TypeAdapter(Date),
    "share": TypeAdapter(Share),
    "text": TypeAdapter(Text),
}
TOKYO = timezone(timedelta(hours=9))

ACCEPTED: dict[str, tuple[str, str, object]] = {
    "an id": ("id", "tokyo-office.1", "tokyo-office.1"),
    "an id of digits": ("id", "42", "42"),
    "an id as long as may be": ("id", "a" * 64, "a" * 64),
    "Norway": ("country", "NO", "NO"),
    "true": ("flag", "true", True),
    "false": ("flag", "false", False),
    "an instant in UTC": ("instant", "2027-06-30T00:00:00Z", datetime(2027, 6, 30, tzinfo=UTC)),
    "an instant in Tokyo": ("instant", "2027-06-30T00:00:00+09:00", datetime(2027, 6, 30, tzinfo=TOKYO)),
    "an instant with a fraction": ("instant", "2027-06-30T00:00:00.5Z", datetime(2027, 6, 30, 0, 0, 0, 500_000, UTC)),
    "a date": ("date", "2028-02-29", date(2028, 2, 29)),
    "a whole": ("share", "100", Decimal(100)),
    "a fraction of a per cent": ("share", "0.000001", Decimal("0.000001")),
    "text is not touched": ("text", " a\tb ", " a\tb "),
}

REFUSED: dict[str, tuple[str, object]] = {
    "an id in upper case": ("id", "Tokyo"),
    "an id with an underscore": ("id", "tokyo_office"),
    "an id that ends in a hyphen": ("id", "tokyo-"),
    "an id with two dots": ("id", "a..b"),
    "an id that leads out": ("id", "../a"),
    "an id with a line feed": ("id", "tokyo\n"),
    "an id too long": ("id", "a" * 65),
    "an id that records say themselves": ("id", "unknown"),
    "an id that is the default's": ("id", "default"),
    "an id outside ASCII": ("id", "\u6771\u4eac"),
    "an id in full-width digits": ("id", "\uff14\uff12"),
    "a country in lower case": ("country", "jp"),
    "the United Kingdom by a reserved code": ("country", "UK"),
    "yes": ("flag", "yes"),
    "True": ("flag", "True"),
    "a number for a flag": ("flag", "1"),
    "a boolean YAML guessed": ("flag", True),
    "an instant without offset": ("instant", "2027-06-30T00:00:00"),
    "an instant without time": ("instant", "2027-06-30"),
    "an instant with a space": ("instant", "2027-06-30 00:00:00Z"),
    "an instant in lower case": ("instant", "2027-06-30t00:00:00z"),
    "an hour that does not exist": ("instant", "2027-06-30T24:00:00Z"),
    "a leap second": ("instant", "2016-12-31T23:59:60Z"),
    "an offset of a day": ("instant", "2027-06-30T00:00:00+24:00"),
    "an offset of ninety-nine minutes (RFC 3339 5.6)": ("instant", "2027-06-30T00:00:00+09:99"),
    "an instant in full-width digits": ("instant", "\uff12027-06-30T00:00:00Z"),
    "a day that does not exist": ("date", "2027-02-29"),
    "a year without hyphens": ("date", "20270630"),
    "a week": ("date", "2027-W26-3"),
    "a date with a line feed": ("date", "2027-06-30\n"),
    "a date in full-width digits": ("date", "\uff12027-06-30"),
    "no share": ("share", "0"),
    "a share of zero in many digits": ("share", "0.000000"),
    "more than all": ("share", "100.000001"),
    "less than none": ("share", "-1"),
    "a share with an exponent": ("share", "1e1"),
    "a share with an underscore": ("share", "1_0"),
    "a share with a per cent sign": ("share", "50%"),
    "a share with a comma": ("share", "50,5"),
    "not a number": ("share", "NaN"),
    "infinite": ("share", "Infinity"),
    "a share with a space": ("share", " 50"),
    "a share in full-width digits": ("share", "\uff15\uff10"),
    "a share in Arabic digits": ("share", "\u0665\u0660"),
    "an empty text": ("text", ""),
    "a blank text": ("text", " \u3000\n"),
    "a text too long": ("text", "a" * 2001),
    "a list for a text": ("text", ["a"]),
    "a mapping for a text": ("text", {"a": "b"}),
    "nothing for a text": ("text", None),
    "a number YAML guessed": ("text", 5),
}


@pytest.mark.parametrize(("kind", "raw", "value"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_scalar_becomes_what_its_schema_says(kind: str, raw: str, value: object) -> None:
    assert READERS[kind].validate_python(raw) == value


@pytest.mark.parametrize(("kind", "raw"), REFUSED.values(), ids=REFUSED)
def test_a_scalar_is_refused_with_one_sentence(kind: str, raw: object) -> None:
    with pytest.raises(ValidationError) as caught:
        READERS[kind].validate_python(raw)

    (detail,) = caught.value.errors()
    assert detail["type"] == "sekisho"
    assert detail["msg"]


@given(st.sampled_from(sorted(READERS)), st.one_of(st.text(max_size=12), st.text("0123456789.-+:TZ", max_size=26)))
def test_reading_text_either_works_or_says_why(kind: str, raw: str) -> None:
    try:
        READERS[kind].validate_python(raw)
    except ValidationError as error:
        assert [detail["type"] for detail in error.errors()] == ["sekisho"]  # noqa: PT017 - either outcome is right


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(TOKYO)))  # noqa: DTZ001 - bounds are naive
def test_an_instant_is_read_as_it_was_written(instant: datetime) -> None:
    assert READERS["instant"].validate_python(instant.isoformat()) == instant


def test_a_message_with_braces_reaches_the_author_unchanged() -> None:
    assert refuse("{country} is no {word}").message() == "{country} is no {word}"


def test_a_choice_names_what_there_is() -> None:
    with pytest.raises(ValueError, match="'mint' is not one of: red, green"):
        choice("red", "green").func("mint")  # type: ignore[call-arg]  # pydantic's two shapes of validator
    assert choice("red", "green").func("red") == "red"  # type: ignore[call-arg]


class AnEntry(Entry):
    id: Id


def test_an_entry_refuses_unknown_keys_and_change() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        AnEntry.model_validate({"id": "a", "Id": "b"})
    with pytest.raises(ValidationError, match="frozen"):
        AnEntry.model_validate({"id": "a"}).id = "b"  # type: ignore[misc]
