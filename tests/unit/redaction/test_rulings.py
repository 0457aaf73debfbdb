# SPDX-License-Identifier: Apache-2.0
import pytest

from proxy.model.api import Transform
from proxy.model.country import CountryForm
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from proxy.model.filtering import AnswerRefusedError, Verdict
from proxy.model.inspection import Beyond
from proxy.redaction.rulings import Rulings, changes_of, combine, countries_in, read_id
from proxy.redaction.treatment import Treatment
from tests.support.filtering import ALLOWED, DENIED, TREATMENT, ByCountry, ByDirectory, declare, masking

REDACTING = masking({"user.name": Transform.REDACT})
MASKING = masking({"user.name": Transform.MASK, "user.id": Transform.NULL})
DECLARED = declare(members={"$.total": Beyond.TOTAL, "$.next": "after", "$.page": Beyond.NOTHING})


NULL, MASK = Transform.NULL, Transform.MASK
ALL = ("$.phone", "$.contact", "$.name", "$.user")


@pytest.mark.parametrize(
    ("says", "transforms", "changed"),
    [
        ("a category", {"user.contact": MASK}, {"$.phone": MASK, "$.contact": MASK, "$.user": MASK}),
        ("an ancestor of it", {"user.contact.phone": NULL}, {"$.phone": NULL, "$.contact": NULL, "$.user": NULL}),
        ("a beginning is no ancestor", {"user.contacts": NULL}, {"$.user": NULL}),
        (
            "two that differ",
            {"user": MASK, "user.contact": Transform.INITIALS},
            {**dict.fromkeys(ALL, Transform.REDACT), "$.name": MASK},
        ),
        ("the stricter", {"user.name": MASK, "user": Transform.REMOVE}, dict.fromkeys(ALL, Transform.REMOVE)),
    ],
)
def test_which_fields_are_changed(says: str, transforms: dict[str, Transform], changed: dict[str, Transform]) -> None:
    categories = {"$.phone": "user.contact.phone", "$.contact": "user.contact", "$.name": "user.name", "$.user": "user"}
    fields = declare(categories).fields
    found = changes_of(fields, transforms)
    assert {
        text: found[id(field)] for text, field in zip(categories, fields, strict=True) if id(field) in found
    } == changed


def test_the_strictest_of_several_verdicts_wins() -> None:
    assert combine([ALLOWED, DENIED, REDACTING]) is DENIED
    assert combine([ALLOWED, ALLOWED]) is ALLOWED
    combined = combine([ALLOWED, MASKING, REDACTING])
    assert combined.is_allowed
    assert combined.transforms == {"user.name": Transform.REDACT, "user.id": Transform.NULL}


def test_what_is_combined_is_one_verdict() -> None:
    rulings = Rulings(DECLARED, ByCountry({"JP": MASKING, "TW": REDACTING}), TREATMENT)
    first, again = rulings.of(("JP", "TW"), UNKNOWN), rulings.of(("JP", "TW"), "7")
    assert first is again


def test_the_judge_notes_every_country_before_it_is_waited_for() -> None:
    asked = []

    class Asking:
        tells_ids = True

        def judge(self, country: object, id_: object) -> Verdict | None:
            asked.append(country)
            return None

    assert Rulings(DECLARED, Asking(), TREATMENT).of(("JP", "TW"), "1") is None
    assert asked == ["JP", "TW"]


def test_ids_matter_where_the_judge_says_so() -> None:
    judge = ByDirectory({"1": ALLOWED})
    judge.known = {"1", "2"}
    rulings = Rulings(DECLARED, judge, TREATMENT)
    verdicts = [ruling.verdict for id_ in ("1", "2") if (ruling := rulings.of((UNKNOWN,), id_)) is not None]
    assert verdicts == [ALLOWED, DENIED]


@pytest.mark.parametrize(
    ("raw", "countries"),
    [
        (b'"JP"', ("JP",)),
        (b"null", (UNKNOWN,)),
        (b"[]", (UNKNOWN,)),
        (b'["JP", "TW","JP",null]', ("JP", "TW", UNKNOWN)),
    ],
)
def test_countries_are_read(raw: bytes, countries: tuple[object, ...]) -> None:
    assert countries_in(DECLARED, raw) == countries


@pytest.mark.parametrize("raw", [b'"jp"', b'"JPN"', b'""', b'" JP"', b"7", b"true", b'["JP",7]', b'"UK"'])
def test_what_is_no_country_refuses(raw: bytes) -> None:
    with pytest.raises(AnswerRefusedError) as refused:
        countries_in(DECLARED, raw)
    assert refused.value.reason is Reason.ANSWER_COUNTRY_MALFORMED


def test_a_country_is_read_as_declared() -> None:
    assert countries_in(declare(form=CountryForm.NAME), b'"Japan"') == ("JP",)


@pytest.mark.parametrize(
    ("raw", "id_"), [(b'"a"', "a"), (b"17", "17"), (b"-0", "-0"), (b"null", UNKNOWN), (rb'"\u0061"', "a")]
)
def test_ids_are_read(raw: bytes, id_: object) -> None:
    assert read_id(raw) == id_


@pytest.mark.parametrize("raw", [b"1.0", b"1e3", b"true", b"{}", b"[]"])
def test_what_is_no_id_refuses(raw: bytes) -> None:
    with pytest.raises(AnswerRefusedError) as refused:
        read_id(raw)
    assert refused.value.reason is Reason.ANSWER_SHAPE_UNDECLARED


def test_totals_and_cursors_change_where_records_could_be_dropped() -> None:
    total, cursor, page = DECLARED.members
    hiding = Rulings(DECLARED, ByCountry({}), TREATMENT)
    assert [hiding.beyond(each) for each in (total, cursor, page)] == [Beyond.TOTAL, Beyond.CURSOR, None]
    plain = Rulings(DECLARED, ByCountry({}), Treatment(name=TREATMENT.name, seal=None, hides=False))
    assert [plain.beyond(each) for each in (total, cursor, page)] == [None, None, None]


@pytest.mark.parametrize(
    ("raw", "sealed"),
    [
        (b'"a\\n"', b'"after!a\\n"'),
        (b"7", b'"after!7"'),
        (b"null", b"null"),
        (b"1.5", None),
        (b"[]", None),
        (b"true", None),
    ],
)
def test_cursors_are_sealed(raw: bytes, sealed: bytes | None) -> None:
    assert Rulings(DECLARED, ByCountry({}), TREATMENT).changer(DECLARED.members[1], Beyond.CURSOR)(raw) == sealed


def test_values_are_transformed() -> None:
    rulings = Rulings(DECLARED, ByCountry({}), TREATMENT)
    assert rulings.changer(DECLARED.fields[0], Transform.PSEUDONYMISE)(b"7") == b'"user.id/7"'
    assert rulings.changer(DECLARED.fields[0], Transform.MASK)(b"7") is None
