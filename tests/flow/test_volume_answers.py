# SPDX-License-Identifier: Apache-2.0
"""Limits on how much a caller reads, where only the answer tells whose data it is."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.ledger.record import Recorder
from proxy.model.counts import UNAVAILABLE, Counted, CountsNeeded
from proxy.model.decision import Reason
from proxy.model.request import ResponseHead
from proxy.origin.geoip import RegistryGeolocator
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Passage
from proxy.pipeline.steps import Cut, Forward, Inspect, Need, Part, Refuse
from proxy.volume.memory import MemoryCounts
from tests.support.command import write_policies
from tests.support.counts import HeldClock
from tests.support.keys import RING
from tests.support.ledger import decode_decision
from tests.support.passages import NOW, REQUEST_ID, HeldKeys, a_head, a_token

SEARCH: Final = "/v1/search"
"""The answer tells country and id."""
LIST: Final = "/v1/jp/list"
"""The request tells the country, the answer the ids."""
ROUTES: Final = """\
    routes:
      - id: search
        methods: [GET]
        path: /v1/search
        action: read
        subject: {records: "$.users[*]", country: "$.country", id: "$.id"}
        fields: {"$.name": user.name, "$.id": user.unique_id, "$.country": user.country}
        searchable_by: []
      - id: list
        methods: [GET]
        path: /v1/{country}/list
        action: read
        subject:
          records: "$.users[*]"
          country: "{country}"
          id: "$.id"
          authoritative: {by: users-team, review_by: 2027-06-30}
        parameters: {country: "[a-z]{2}"}
        fields: {"$.name": user.name, "$.id": user.unique_id, "$.country": user.country}
"""
RULES: Final = """\
rules:
  - {id: three-an-hour, effect: deny, when: {counts.subjects_1h: {gt: 3}}}
  - {id: everyone, effect: allow, when: {caller.affiliate: ly}}
"""
FIELDS: Final = (("content-type", "application/json"),)
IDS: Final = itertools.count()


def a_bundle(folder: Path, *edits: tuple[str, str, str]) -> Snapshot:
    routes = ("apis/users.yaml", "    routes:\n", ROUTES)
    return load_bundle(write_policies(folder / "policies", routes, ("rules/allow.yaml", "rules:\n", RULES), *edits))


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return a_bundle(tmp_path_factory.mktemp("limited"))


def a_checkpoint(snapshot: Snapshot, volume: Any = None) -> Checkpoint:
    recorder = Recorder(RING, snapshot.digest)
    counts = volume or MemoryCounts(1000, HeldClock())
    return Checkpoint(snapshot, HeldKeys(snapshot), RegistryGeolocator(), recorder, volume=counts)


@pytest.fixture
def checkpoint(limited: Snapshot) -> Checkpoint:
    return a_checkpoint(limited)


def an_answer(*ids: int) -> bytes:
    users = [{"id": f"u{each}", "name": f"name-{each}", "country": "JP"} for each in ids]
    return json.dumps({"users": users}).encode()


def begun(checkpoint: Checkpoint, target: str = SEARCH) -> tuple[Passage, Any]:
    passage = Passage(checkpoint, f"{REQUEST_ID[:-6]}{next(IDS):06}", NOW)
    return passage, passage.begin(a_head(target, token=a_token(sub="alice")))


def read(checkpoint: Checkpoint, *ids: int, target: str = SEARCH) -> Any:
    """Return what comes of an answer that shows these users."""
    passage, step = begun(checkpoint, target)
    if isinstance(step, Refuse):
        return step
    assert isinstance(step, Forward)
    body = an_answer(*ids)
    assert isinstance(passage.answer(ResponseHead(200, FIELDS), len(body)), Inspect), "it is looked into"
    return passage.inspect(body, ended=True)


def shown(step: Any) -> list[str] | str:
    """Return the ids that left, or why none did."""
    if isinstance(step, Refuse):
        return str(step.outcome.reason)
    assert isinstance(step, Part)
    assert step.is_last
    return [user["id"] for user in json.loads(step.data)["users"]]


def ids(*numbers: int) -> list[str]:
    return [f"u{each}" for each in numbers]


@pytest.mark.parametrize("target", [pytest.param(SEARCH, id="a search"), pytest.param(LIST, id="a list of a country")])
class TestLimit:
    def test_an_answer_leaves_up_to_it(self, checkpoint: Checkpoint, target: str) -> None:
        assert shown(read(checkpoint, 1, 2, 3, target=target)) == ids(1, 2, 3)

    def test_an_answer_that_crosses_it_does_not_leave_and_is_not_counted(
        self, checkpoint: Checkpoint, target: str
    ) -> None:
        assert shown(read(checkpoint, 1, 2, 3, 4, target=target)) == "rule-denies"
        assert shown(read(checkpoint, 5, 6, target=target)) == ids(5, 6)

    def test_answers_add_up(self, checkpoint: Checkpoint, target: str) -> None:
        said = [shown(read(checkpoint, *page, target=target)) for page in ((1, 2), (2, 3), (3, 4), (1, 3))]
        assert said == [ids(1, 2), ids(2, 3), "rule-denies", ids(1, 3)]

    def test_where_nobody_can_tell_nothing_leaves(self, limited: Snapshot, target: str) -> None:
        assert shown(read(a_checkpoint(limited, MemoryCounts(2, HeldClock())), 1, 2, 3, target=target)) == (
            "counts-unavailable"
        )


def test_a_refusal_says_how_much_it_was(checkpoint: Checkpoint) -> None:
    step = read(checkpoint, 1, 2, 3, 4, 5)
    assert isinstance(step, Refuse)
    (line,) = step.lines
    told = decode_decision(line)
    assert (told.rule, told.reason, told.released, told.counts) == (
        "three-an-hour", "rule-denies", False, {"subjects_1h": 4}
    )  # fmt: skip


def test_an_answer_that_leaves_says_how_much_it_was(checkpoint: Checkpoint) -> None:
    step = read(checkpoint, 1, 2)
    assert isinstance(step, Part)
    assert decode_decision(step.lines[0]).counts == {"subjects_1h": 2}


def test_who_is_beyond_it_already_is_refused_before_the_api_is_asked(tmp_path: Path, checkpoint: Checkpoint) -> None:
    read(checkpoint, 1, 2, 3)
    lower = a_bundle(tmp_path, ("rules/allow.yaml", "gt: 3", "gt: 2"))
    _, step = begun(a_checkpoint(lower, checkpoint.volume))
    assert shown(step) == "rule-denies"


def test_what_is_in_observe_mode_leaves_and_is_recorded(tmp_path: Path) -> None:
    observing = "mode: observe\nobserve_until: 2027-02-01T00:00:00Z\n# "
    checkpoint = a_checkpoint(a_bundle(tmp_path, ("bundle.yaml", "mode: enforce ", observing)))
    step = read(checkpoint, 1, 2, 3, 4)
    assert shown(step) == ids(1, 2, 3, 4)
    told = decode_decision(step.lines[0])
    assert (told.effect, told.enforced, told.rule) == ("deny", False, "three-an-hour")


class Asked:
    """Counts in memory, but has to be asked."""

    def __init__(self) -> None:
        self.settled: list[bool] = []

    def count(self, needed: CountsNeeded) -> Counted | None:
        return needed.answer

    def settle(self, needed: CountsNeeded, counted: Counted, *, is_allowed: bool) -> None:
        self.settled.append(is_allowed)


def driven(passage: Passage, body: bytes, answers: Sequence[Counted | None]) -> Any:
    """Look into an answer, and meet each need by the next of these."""
    passage.answer(ResponseHead(200, FIELDS), len(body))
    step = passage.inspect(body, ended=True)
    for answer in answers:
        assert isinstance(step, Need)
        assert isinstance(step.what, CountsNeeded)
        step.what.answer = answer
        step = passage.inspect(b"", ended=True)
    return step


@pytest.mark.parametrize(
    ("answer", "expected", "settled"),
    [
        pytest.param(Counted((3,)), ids(1, 2), True, id="there is room"),
        pytest.param(Counted((4,)), "rule-denies", False, id="there is none"),
        pytest.param(None, "counts-unavailable", None, id="nobody answers"),
        pytest.param(UNAVAILABLE, "counts-unavailable", None, id="nobody can tell"),
    ],
)
def test_what_must_be_waited_for(
    limited: Snapshot,
    answer: Counted | None,
    expected: Any,
    settled: bool | None,  # noqa: FBT001
) -> None:
    volume = Asked()
    passage, step = begun(a_checkpoint(limited, volume))
    assert isinstance(step, Need)
    assert isinstance(step.what, CountsNeeded)
    assert [count.members for count in step.what.counts] == [()], "as it stands"
    step.what.answer = Counted((1,))
    assert isinstance(passage.supply(step), Forward)
    assert shown(driven(passage, an_answer(1, 2), [answer])) == expected
    assert volume.settled == [True] + ([] if settled is None else [settled])


def test_what_crosses_it_midway_is_cut(limited: Snapshot) -> None:
    """The first part is beyond what is held before anything leaves."""
    checkpoint = a_checkpoint(limited)
    passage, _ = begun(checkpoint)
    passage.answer(ResponseHead(200, FIELDS))
    long = "x" * 200_000
    users = [{"id": f"u{each}", "name": long, "country": "JP"} for each in range(40)]
    body = json.dumps({"users": users}).encode()
    left, last = b"", None
    for start in range(0, len(body), 65536):
        last = passage.inspect(body[start : start + 65536], ended=False)
        if isinstance(last, Part):
            left += last.data
        elif last is not None:
            break
    assert isinstance(last, Refuse | Cut)
    reason = last.reason if isinstance(last, Cut) else last.outcome.reason
    assert reason is Reason.RULE_DENIES
    assert left.count(b'"id"') <= 3
