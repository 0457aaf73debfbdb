# SPDX-License-Identifier: Apache-2.0
"""The made-up people: always the same ones, each in one country, and none of them reachable."""

from __future__ import annotations

import re
import unicodedata
from itertools import islice

import pytest

from proxy.demo.people import (
    COUNTRIES,
    PAYMENTS_EACH,
    User,
    country_of,
    generate_payments,
    generate_reports,
    generate_users,
)

USERS = tuple(generate_users())
REPORTS = tuple(generate_reports(USERS))
PAYMENTS = tuple(generate_payments(USERS))

PHONES = {
    "JP": r"0[79]0-0\d{3}-\d{4}",
    "KR": r"010-[01]\d{3}-\d{4}",
    "TW": r"09\d{2}-\d{3}-\d{3}",
    "TH": r"0[689]-\d{4}-\d{4}",
    "ID": r"08\d{2}-\d{4}-\d{4}",
    "US": r"\([2-9]\d{2}\) 555-01\d{2}",
}
SCRIPTS = {"JP": "CJK", "KR": "HANGUL", "TW": "CJK", "TH": "THAI", "ID": "LATIN", "US": "LATIN"}


def of_country(country: str) -> list[User]:
    return [user for user in USERS if user.country == country]


def test_generate_users_gives_the_same_people_for_the_same_seed() -> None:
    assert tuple(generate_users()) == USERS


def test_generate_users_gives_other_people_for_another_seed() -> None:
    assert tuple(generate_users(seed=1)) != USERS


def test_generate_users_begins_a_larger_population_with_the_smaller_one() -> None:
    assert tuple(islice(generate_users(per_country=700), len(USERS))) == USERS


def test_generate_users_gives_every_id_once() -> None:
    assert [user.id for user in USERS] == [str(number) for number in range(1, len(USERS) + 1)]


@pytest.mark.parametrize("country", COUNTRIES)
def test_generate_users_gives_each_country_its_share(country: str) -> None:
    assert len(of_country(country)) == 500


@pytest.mark.parametrize(("number", "country"), [*enumerate(COUNTRIES, start=42)])
def test_country_of_agrees_with_the_users_and_reports_from_42_on(number: int, country: str) -> None:
    assert country_of(number) == country
    assert (USERS[number - 1].id, USERS[number - 1].country) == (str(number), country)
    assert (REPORTS[number - 1].id, REPORTS[number - 1].country) == (str(number), country)


@pytest.mark.parametrize("country", COUNTRIES)
def test_names_are_written_in_their_countrys_script(country: str) -> None:
    letters = {letter for user in of_country(country) for letter in user.name if letter not in " 々"}
    assert {unicodedata.name(letter).split()[0] for letter in letters} == {SCRIPTS[country]}


@pytest.mark.parametrize("country", COUNTRIES)
def test_names_are_various(country: str) -> None:
    assert len({user.name for user in of_country(country)}) > 300


@pytest.mark.parametrize("country", COUNTRIES)
def test_phones_have_their_countrys_form_and_are_fictional_where_that_can_be(country: str) -> None:
    assert [user.phone for user in of_country(country) if not re.fullmatch(PHONES[country], user.phone)] == []


def test_emails_are_under_a_reserved_name() -> None:
    assert [
        user.email for user in USERS if not re.fullmatch(r"[a-z]+\.[a-z]+\d{4}@[a-z]{2}\.example", user.email)
    ] == []


def test_line_ids_are_possible_line_ids() -> None:
    assert [user.line_id for user in USERS if not re.fullmatch(r"[a-z0-9._-]{4,20}", user.line_id)] == []


def test_generate_reports_gives_the_same_reports_for_the_same_seed() -> None:
    assert tuple(generate_reports(iter(USERS))) == REPORTS


def test_reports_are_written_by_users_of_their_own_country() -> None:
    countries = {user.id: user.country for user in USERS}
    assert [report for report in REPORTS if countries[report.reporter_id] != report.country] == []


def test_generate_reports_without_users_gives_none() -> None:
    assert list(generate_reports(())) == []


def test_generate_reports_skips_a_country_without_users() -> None:
    assert {report.country for report in generate_reports(of_country("JP"))} == {"JP"}


def test_generate_payments_gives_the_same_payments_for_the_same_seed() -> None:
    assert tuple(generate_payments(USERS)) == PAYMENTS


def test_payments_are_in_the_order_of_their_ids_and_of_their_users() -> None:
    assert [payment.id for payment in PAYMENTS] == [str(number) for number in range(1, len(PAYMENTS) + 1)]
    payers = [(user.id, user.country) for user in USERS for _ in range(PAYMENTS_EACH)]
    assert [(payment.user_id, payment.country) for payment in PAYMENTS] == payers


def test_payments_of_a_user_are_of_different_days_in_order() -> None:
    days = [payment.paid_on for payment in PAYMENTS if payment.user_id == "42"]
    assert days == sorted(set(days))
    assert {day[:8] for day in days} == {"2021-09-"}


def test_a_country_pays_in_one_currency() -> None:
    currencies = {(payment.country, payment.currency) for payment in PAYMENTS}
    assert len(currencies) == len(COUNTRIES)
    assert all(payment.amount > 0 for payment in PAYMENTS)
