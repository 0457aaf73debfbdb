# SPDX-License-Identifier: Apache-2.0
"""What the soak takes for wrong; the soak itself is in tests/e2e."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench import soak
from bench.faulty_api import FIRST, MANNERS, POISON, SMALL_BYTES, body_of, manner_of
from bench.rough_clients import KINDS, Answer, Seen, problem_of
from bench.soak import Sample

USER = f"{FIRST}001000000001"
OTHER = f"{FIRST}002000000001"
WHOLE = body_of(USER, SMALL_BYTES)
REFUSED = b'{"type":"urn:sekisho:reason:upstream-broken"}'


def whole(status: int, body: bytes) -> Answer:
    return Answer(status, {}, body, is_whole=True)


def cut(status: int, body: bytes) -> Answer:
    return Answer(status, {}, body, is_whole=False)


WRONG = [
    pytest.param(whole(200, body_of(OTHER, SMALL_BYTES)), "is another", id="another's answer"),
    pytest.param(whole(200, WHOLE[:250] + body_of(OTHER, 50)), "is another", id="another's last bytes"),
    pytest.param(whole(200, WHOLE[:250]), "look like a whole", id="half an answer that looks whole"),
    pytest.param(whole(200, WHOLE + POISON), "belongs to nobody", id="more than was asked for"),
    pytest.param(cut(502, POISON), "belongs to nobody", id="garbage passed on, cut"),
    pytest.param(whole(502, b"<html>"), "status 502", id="an error that is not the gateway's own"),
    pytest.param(whole(502, REFUSED + WHOLE), "status 502", id="a record within an error"),
]
RIGHT = [
    pytest.param(whole(200, WHOLE), id="the whole answer"),
    pytest.param(cut(200, WHOLE[:250]), id="half of it, and the connection cut"),
    pytest.param(whole(502, REFUSED), id="a refusal of the gateway's"),
    pytest.param(cut(502, REFUSED[:9]), id="half a refusal, cut"),
]


@pytest.mark.parametrize(("answer", "told"), WRONG)
def test_what_nobody_may_be_sent_is_a_problem(answer: Answer, told: str) -> None:
    problem = problem_of(USER, answer)
    assert problem is not None
    assert told in problem


@pytest.mark.parametrize("answer", RIGHT)
def test_what_somebody_may_be_sent_is_none(answer: Answer) -> None:
    assert problem_of(USER, answer) is None


def test_ids_choose_manners() -> None:
    chosen = [manner_of(f"{FIRST + number}0") for number in range(len(MANNERS))]
    assert chosen == list(MANNERS)
    assert FIRST + len(MANNERS) <= 100


def test_memory_that_rises_to_the_end_is_a_leak_and_one_that_settles_is_none() -> None:
    leaking = [Sample(float(second), 80_000 + 400 * second, 20) for second in range(100)]
    settling = [Sample(float(second), 80_000 + 400 * min(second, 40), 20) for second in range(100)]
    assert list(soak.rises(leaking))
    assert not list(soak.rises(settling))


def test_a_change_that_reached_the_api_twice_is_a_problem(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.write_text("GET 1\nPOST 2\nGET 1\nPOST 3\nPOST 3\n")
    assert list(soak.repeats(notes)) == ["the API was asked 2 times: POST 3"]


def test_an_exception_in_the_log_is_a_problem_and_a_warning_is_none(tmp_path: Path) -> None:
    log = tmp_path / "output"
    log.write_text(
        '{"level":"warning","message":"a"}\n{"level":"warning","message":"b","exception":"KeyError"}\nTrace\n'
    )
    assert len(list(soak.log_problems(log))) == 2


def test_a_soak_in_which_nothing_happened_proves_nothing() -> None:
    assert len(list(soak.omissions(Seen()))) > len(KINDS)
    seen = Seen(ends=Counter(dict.fromkeys([(kind, "200") for kind in KINDS], 1)), fair=Counter({True: 1}))
    seen.by_api.update(manner.name for manner in MANNERS)
    assert list(soak.omissions(seen)) == []
