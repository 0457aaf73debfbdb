# SPDX-License-Identifier: Apache-2.0
import pytest

from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from proxy.model.filtering import AnswerRefusedError, Judge
from proxy.model.inspection import Inspection, OnDenied
from proxy.redaction.grammar import DOCUMENT
from proxy.redaction.outlet import Outlet, end_line
from proxy.redaction.places import find_unit, locate
from proxy.redaction.rendering import Renderer, Unit
from proxy.redaction.rulings import Rulings
from proxy.redaction.survey import Survey
from proxy.redaction.values import ValueReader
from tests.support.filtering import ALLOWED, DENIED, TREATMENT, ByCountry, ByDirectory, declare

LIST = declare({"$.id": "user.id"}, records="$[*]", id="$.id")


def outlet(judge: Judge, declared: Inspection = LIST) -> Outlet:
    rulings = Rulings(declared, judge, TREATMENT)

    def resurvey(raw: bytes) -> Survey:
        node = ValueReader(DOCUMENT, 1000, 64, 128).read(raw, 0, is_ended=True)
        assert node is not None
        return Survey(declared, find_unit(locate(declared), declared.records), node)

    return Outlet(declared, rulings, Renderer(rulings, resurvey))


def unit(country: str, name: bytes = b"") -> Unit:
    return Unit(b'{"id":"%b"}' % country.encode(), name, (country,), country)


def test_commas_stand_between_what_stays() -> None:
    out = outlet(ByCountry({"TW": ALLOWED}))
    out.open(b"", b"{")
    out.put(b'"a"', b"1")
    out.open(b'"b"', b"{")
    for name, country in ((b'"x"', "JP"), (b'"y"', "TW"), (b'"z"', "JP"), (b'"w"', "TW")):
        out.unit(unit(country, name))
    out.close(b"}")
    out.open(b'"c"', b"[")
    out.unit(unit("JP"))
    out.close(b"]")
    out.close(b"}")
    assert out.take() == b'{"a":1,"b":{"y":{"id":"TW"},"w":{"id":"TW"}},"c":[]}'


def test_what_stands_behind_a_unit_that_waits_waits_too() -> None:
    judge = ByDirectory({"1": ALLOWED, "3": ALLOWED})
    out = outlet(judge)
    out.open(b"", b"[")
    for id_ in ("1", "2", "3"):
        out.unit(unit(id_))
    out.close(b"]")
    assert (out.take(), out.is_waiting, judge.ask()) == (b"[", True, ("1", "2", "3"))
    out.retry()
    assert (out.take(), out.is_waiting) == (b'{"id":"1"},{"id":"3"}]', False)


def test_a_fault_waits_for_what_stands_before_it() -> None:
    judge = ByDirectory({"1": DENIED})
    out = outlet(judge, declare({"$.id": "user.id"}, records="$[*]", id="$.id", on_denied=OnDenied.REFUSE))
    out.unit(unit("1"))
    out.fail(AnswerRefusedError(Reason.ANSWER_MALFORMED))
    judge.ask()
    with pytest.raises(AnswerRefusedError) as refused:
        out.retry()
    assert refused.value.reason is Reason.RULE_DENIES


def test_a_document_of_which_nothing_is_left_has_no_frame() -> None:
    out = outlet(ByCountry({"TW": ALLOWED}), declare({"$.id": "user.id"}))
    for country in ("JP", "TW", "JP"):
        out._refuses = False  # as in documents a line
        out.unit(unit(country))
        out.end_document(end_line)
    assert out.take() == b'{"id":"TW"}\n'


def test_a_document_of_which_some_has_left_gets_its_end() -> None:
    out = outlet(ByCountry({UNKNOWN: ALLOWED}))
    out.open(b"", b"[")
    assert out.take() == b"["
    out.close(b"]")
    assert out.take() == b"]"
    out.end_document(end_line)
    assert out.take() == b"\n"


def test_whole_documents_may_be_taken_alone() -> None:
    out = outlet(ByCountry({UNKNOWN: ALLOWED}))
    out.put(b"", b"1")
    out.end_document(end_line)
    out.put(b"", b"2")
    assert out.take(whole_documents=True) == b"1\n"
    out.end_document(end_line)
    assert out.take(whole_documents=True) == b"2\n"
