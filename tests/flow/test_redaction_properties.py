# SPDX-License-Identifier: Apache-2.0
"""What must hold of any answer, any declaration and any rules: nothing denied leaves, and all else leaves as it was."""

from dataclasses import dataclass, replace
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.model.api import Transform
from proxy.model.filtering import Filter, Judge
from proxy.model.inspection import Field, Media
from proxy.redaction.filters import make_filter
from proxy.redaction.transforms import transform
from proxy.redaction.treatment import Treatment
from tests.support.json_draws import Answer, answers, inspections, tables
from tests.support.json_source import Limits
from tests.support.json_writing import COMMENT, SPLITS, broken, split, texts_in
from tests.support.judging import Run, Table, TableJudge, drive, name_value, seal_cursor
from tests.support.reference_filter import expect
from tests.support.reference_model import USUAL, Setting
from tests.support.reference_output import ReferenceFilter, check_run

pytestmark = pytest.mark.timeout(900)  # what fails takes its time to become small
USUAL_BYTES: Final = 1_048_576
CHECKED: Final = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def apply(transform_: Transform, raw: bytes, field: Field) -> bytes | None:
    return transform(transform_, raw, field, name_value)


@dataclass(frozen=True)
class Case:
    """An answer, and what it is read with."""

    setting: Setting
    table: Table
    answer: Answer
    asks: bool

    def judge(self) -> TableJudge:
        return TableJudge(self.table, self.asks)

    def run(self, data: bytes, sizes: list[int]) -> Run:
        judge = self.judge()
        return drive(self.make(judge), judge, split(data, sizes))

    def make(self, judge: Judge) -> Filter:
        seal = seal_cursor if self.setting.seal else None
        treatment = Treatment(
            name=name_value,
            seal=seal,
            hides=self.setting.hides,
            record_bytes=self.setting.record_bytes,
            depth=self.setting.limits.depth,
            number_chars=self.setting.limits.number_chars,
        )
        return make_filter(self.setting.inspection, judge, treatment)

    def forbidden(self) -> set[str]:
        """Secrets of records that are denied, and of what nothing declares, unless a record that leaves has them."""
        denied: set[str] = set()
        leaving: set[str] = set()
        for record in self.answer.records:
            verdicts = [self.table(country, record.id) for country in record.countries]
            (leaving if all(verdict.is_allowed for verdict in verdicts) else denied).update(record.secrets)
        beyond = self.answer.beyond if self.setting.hides else set()
        return (denied - leaving) | self.answer.undeclared | beyond | {COMMENT.decode()}


@st.composite
def cases(draw: st.DrawFn, media: Media | None = None, *, spoils: bool = False) -> Case:
    inspection = draw(inspections(media))
    table = draw(tables())
    seal = draw(st.sampled_from((seal_cursor, seal_cursor, None)))
    record_bytes = draw(st.sampled_from((*[USUAL_BYTES] * 3, 90)))
    limits = draw(st.sampled_from((*[USUAL] * 3, Limits(6, 20))))
    hides = draw(st.booleans())
    setting = Setting(inspection, table, apply, seal, hides, record_bytes, limits)
    return Case(setting, table, draw(answers(inspection, spoils=spoils)), asks=draw(st.integers(0, 2)) == 0)


def check_secrets(case: Case, run: Run) -> None:
    texts = texts_in(run.output) + (repr(run.error) if run.error else "") + repr(run.ids)
    for secret in case.forbidden():
        assert secret not in texts, f"{secret} has left"


@CHECKED
@given(cases(), SPLITS)
def test_nothing_denied_or_undeclared_leaves_and_the_rest_leaves_as_it_was(case: Case, sizes: list[int]) -> None:
    run = case.run(case.answer.body, sizes)
    check_secrets(case, run)
    check_run(case.setting, expect(case.setting, case.answer.body), run)


@CHECKED
@given(st.data(), cases(), SPLITS)
def test_nor_does_it_of_a_broken_answer(data: st.DataObject, case: Case, sizes: list[int]) -> None:
    body = data.draw(broken(case.answer.body))
    run = case.run(body, sizes)
    check_secrets(case, run)
    check_run(case.setting, expect(case.setting, body), run)


@CHECKED
@given(cases(spoils=True), SPLITS)
def test_an_answer_of_another_shape_comes_to_what_the_reference_says(case: Case, sizes: list[int]) -> None:
    whole, run = case.run(case.answer.body, []), case.run(case.answer.body, sizes)
    check_run(case.setting, expect(case.setting, case.answer.body), run)
    assert run.outcome == whole.outcome


@CHECKED
@given(st.data(), cases(), SPLITS)
def test_where_the_parts_end_makes_no_difference(data: st.DataObject, case: Case, sizes: list[int]) -> None:
    body = data.draw(st.one_of(st.just(case.answer.body), broken(case.answer.body)))
    whole, parts = case.run(body, []), case.run(body, sizes)
    assert whole.outcome == parts.outcome
    shorter, longer = sorted((whole.output, parts.output), key=len)
    assert longer.startswith(shorter), "what had left before the error is not what leaves otherwise"


@settings(CHECKED, max_examples=60)  # each is three runs
@given(cases(), SPLITS)
def test_whoever_must_ask_comes_to_the_same_and_asks_for_all_of_a_part_at_once(case: Case, sizes: list[int]) -> None:
    asking, knowing = replace(case, asks=True), replace(case, asks=False)
    whole = asking.run(case.answer.body, [])
    assert whole.rounds <= 1
    at_once = knowing.run(case.answer.body, [])
    assert whole.outcome == asking.run(case.answer.body, sizes).outcome == at_once.outcome


def _reference(case: Case, data: bytes) -> Run:
    judge = case.judge()
    return drive(ReferenceFilter(case.setting, judge), judge, [data])


@CHECKED
@given(cases())
def test_the_reference_filter_lets_no_secret_through_either(case: Case) -> None:
    check_secrets(case, _reference(case, case.answer.body))
