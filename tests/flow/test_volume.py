# SPDX-License-Identifier: Apache-2.0
"""Limits on how much a caller reads, from a request's head to its record."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.bundle.snapshot import Snapshot
from proxy.ledger.entry import encode_body
from proxy.ledger.record import Recorder
from proxy.lifecycle.recorded import read_recorded
from proxy.model.counts import UNAVAILABLE, Counted, CountsNeeded
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from proxy.origin.geoip import RegistryGeolocator
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Passage
from proxy.pipeline.steps import Forward, Need, Refuse, Step
from proxy.volume.memory import MemoryCounts
from tests.support.bundle_folder import a_bundle
from tests.support.counts import HeldClock
from tests.support.keys import RING
from tests.support.ledger import decode_decision
from tests.support.passages import NOW, REQUEST_ID, HeldKeys, a_head, a_token, reference_bundle

LIMIT: Final = """\
  - id: three-an-hour
    effect: deny
    when: {subject.country: JP, counts.country_subjects_1h: {gt: 3}}
"""
EVERYWHERE: Final = "  - {id: everywhere, effect: allow, when: {caller.affiliate: ly}}\n"
"""Users of other countries may be read, too."""
IDS: Final = itertools.count()


class Asked:
    """Counts in memory, but has to be asked: what a shared store looks like to a passage."""

    def __init__(self) -> None:
        self.held = MemoryCounts(1000, HeldClock())
        self.settled: list[bool] = []

    def count(self, needed: CountsNeeded) -> Counted | None:
        return needed.answer

    def settle(self, needed: CountsNeeded, counted: Counted, *, is_allowed: bool) -> None:
        self.settled.append(is_allowed)
        self.held.settle(needed, counted, is_allowed=is_allowed)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return a_bundle(tmp_path_factory.mktemp("limited"), rules=LIMIT + EVERYWHERE)


def a_checkpoint(snapshot: Snapshot, volume: Any) -> Checkpoint:
    recorder = Recorder(RING, snapshot.digest)
    return Checkpoint(snapshot, HeldKeys(snapshot), RegistryGeolocator(), recorder, volume=volume)


def a_passage(checkpoint: Checkpoint) -> Passage:
    return Passage(checkpoint, f"{REQUEST_ID[:-6]}{next(IDS):06}", NOW)


def read(checkpoint: Checkpoint, user: int | str = 42, *, who: str = "alice", **head: Any) -> Step:
    token = head.pop("token", None) or a_token(sub=who)
    return a_passage(checkpoint).begin(a_head(head.pop("target", f"/v1/jp/users/{user}"), token=token, **head))


def reasons(steps: Iterable[Step]) -> list[str]:
    return [step.outcome.reason if isinstance(step, Refuse) else "passes" for step in steps]


@pytest.fixture
def checkpoint(limited: Snapshot) -> Checkpoint:
    return a_checkpoint(limited, MemoryCounts(1000, HeldClock()))


def test_nobody_reads_more_than_the_limit(checkpoint: Checkpoint) -> None:
    said = reasons(read(checkpoint, user) for user in (1, 2, 1, 3, 4, 2, 5))
    assert said == ["passes"] * 4 + ["rule-denies", "passes", "rule-denies"]


def test_the_denial_says_how_much_it_was(checkpoint: Checkpoint, limited: Snapshot) -> None:
    for user in range(3):
        read(checkpoint, user)
    step = read(checkpoint, 9)
    assert isinstance(step, Refuse)
    (line,) = step.lines
    told = decode_decision(line)
    assert (told.rule, told.counts) == ("three-an-hour", {"country_subjects_1h": 4})
    recorded = read_recorded(encode_body(line), limited)
    assert recorded.facts.counts.country_subjects_1h == 4
    assert recorded.facts.counts.subjects_1h is UNKNOWN


def test_each_caller_has_a_limit_of_its_own(checkpoint: Checkpoint) -> None:
    for user in range(3):
        read(checkpoint, user)
    assert reasons(read(checkpoint, 9, who=who) for who in ("alice", "bob")) == ["rule-denies", "passes"]


def test_a_request_that_is_denied_for_another_reason_is_not_counted(checkpoint: Checkpoint) -> None:
    said = reasons(read(checkpoint, user, address="1.2.4.8") for user in range(10))
    assert set(said) == {"rule-denies"}  # from China
    assert reasons(read(checkpoint, user) for user in range(20, 23)) == ["passes"] * 3


def test_subjects_of_another_country_are_counted_apart(checkpoint: Checkpoint) -> None:
    assert reasons(read(checkpoint, target=f"/v1/kr/users/{user}") for user in range(5)) == ["passes"] * 5
    assert reasons(read(checkpoint, user) for user in range(4)) == ["passes"] * 3 + ["rule-denies"]


def test_a_bundle_without_limits_asks_nobody() -> None:
    class Untouchable:
        def count(self, needed: CountsNeeded) -> Counted:
            raise AssertionError("nothing is to be counted")

        settle = count

    assert isinstance(read(a_checkpoint(reference_bundle(), Untouchable())), Forward)


class TestAsked:
    """Counts that must be waited for."""

    def test_requests_at_once_do_not_pass_the_limit_together(self, limited: Snapshot) -> None:
        """Each is seen in one step; who comes later finds the places taken that those before it hold."""
        volume = Asked()
        checkpoint = a_checkpoint(limited, volume)
        passages = [a_passage(checkpoint) for _ in range(10)]
        needs = [
            passage.begin(a_head(f"/v1/jp/users/{user}", token=a_token(sub="alice")))
            for user, passage in enumerate(passages)
        ]
        asked = [need for need in needs if isinstance(need, Need)]
        assert len(asked) == 10
        for number, need in enumerate(asked, 1):
            assert isinstance(need.what, CountsNeeded)
            need.what.answer = Counted((min(number, 4),))
        said = reasons(passage.supply(need) for passage, need in zip(passages, asked, strict=True))
        assert said == ["passes"] * 3 + ["rule-denies"] * 7
        assert volume.settled == [True] * 3 + [False] * 7

    def test_what_is_refused_anyway_is_not_asked(self, limited: Snapshot) -> None:
        assert isinstance(read(a_checkpoint(limited, Asked()), address="1.2.4.8"), Refuse)

    def test_no_answer_is_a_refusal_of_its_own_and_is_asked_once(self, limited: Snapshot) -> None:
        passage = a_passage(a_checkpoint(limited, Asked()))
        need = passage.begin(a_head(token=a_token(sub="alice")))
        assert isinstance(need, Need)
        step = passage.supply(need)
        assert isinstance(step, Refuse)
        assert (step.outcome.reason, step.outcome.status) == (Reason.COUNTS_UNAVAILABLE, 503)
        (line,) = step.lines
        told = decode_decision(line)
        assert (told.rule, told.certainty) == ("three-an-hour", "by-unknown")
        assert told.unknown == ("counts.country_subjects_1h",)
        assert not told.counts

    def test_no_answer_does_not_matter_where_no_limit_does(self, limited: Snapshot) -> None:
        passage = a_passage(a_checkpoint(limited, Asked()))
        need = passage.begin(a_head("/v1/kr/users/42", token=a_token(sub="alice")))
        assert isinstance(need, Need)
        assert isinstance(passage.supply(need), Forward)

    def test_the_question_names_nobody(self, limited: Snapshot) -> None:
        need = read(a_checkpoint(limited, Asked()), "4242")
        assert isinstance(need, Need)
        assert isinstance(need.what, CountsNeeded)
        (count,) = need.what.counts
        (member,) = count.members
        assert len(count.caller) == len(member) == 16
        assert b"alice" not in count.caller
        assert b"4242" not in member
        assert count.group == "JP"


def test_where_there_is_no_room_to_count_the_limit_refuses(limited: Snapshot) -> None:
    checkpoint = a_checkpoint(limited, MemoryCounts(1, HeldClock()))
    assert reasons(read(checkpoint, user) for user in (1, 2)) == ["passes", "counts-unavailable"]


def test_under_observe_mode_the_limit_is_recorded_and_nothing_blocked(tmp_path: Path) -> None:
    manifest = "mode: observe\nobserve_until: 2027-02-01T00:00:00Z"
    snapshot = a_bundle(tmp_path, manifest=manifest, rules=LIMIT)
    checkpoint = a_checkpoint(snapshot, MemoryCounts(1000, HeldClock()))
    passages = []
    for user in range(5):
        passage = a_passage(checkpoint)
        assert isinstance(passage.begin(a_head(f"/v1/jp/users/{user}", token=a_token(sub="alice"))), Forward)
        passages.append(passage)
    assert [passage._enforced for passage in passages] == [True] * 3 + [False] * 2


class TestUnderWay:
    """A request is decided anew while its answer flows."""

    def test_it_counts_once_and_as_it_was(self, checkpoint: Checkpoint) -> None:
        passages = [a_passage(checkpoint) for _ in range(3)]
        for user, passage in enumerate(passages):
            assert isinstance(passage.begin(a_head(f"/v1/jp/users/{user}", token=a_token(sub="alice"))), Forward)
        assert not any(passage.is_denied_under(checkpoint, NOW) for passage in passages)

    def test_a_lower_limit_cuts_what_is_beyond_it(self, tmp_path: Path, checkpoint: Checkpoint) -> None:
        passages = [a_passage(checkpoint) for _ in range(3)]
        for user, passage in enumerate(passages):
            passage.begin(a_head(f"/v1/jp/users/{user}", token=a_token(sub="alice")))
        lower = a_checkpoint(a_bundle(tmp_path, rules=LIMIT.replace("gt: 3", "gt: 1")), checkpoint.volume)
        assert [passage.is_denied_under(lower, NOW) for passage in passages] == [False, True, True]

    def test_what_began_before_anything_was_counted_is_cut(self, limited: Snapshot) -> None:
        before = a_checkpoint(reference_bundle(), MemoryCounts(10, HeldClock()))
        passage = a_passage(before)
        assert isinstance(passage.begin(a_head()), Forward)
        assert passage.is_denied_under(a_checkpoint(limited, before.volume), NOW)


def test_a_shadow_limit_tells_and_refuses_nobody(tmp_path: Path) -> None:
    snapshot = a_bundle(tmp_path, rules=LIMIT + "    mode: shadow\n")
    checkpoint = a_checkpoint(snapshot, MemoryCounts(1000, HeldClock()))
    steps = [a_passage(checkpoint) for _ in range(5)]
    for user, passage in enumerate(steps):
        assert isinstance(passage.begin(a_head(f"/v1/jp/users/{user}", token=a_token(sub="alice"))), Forward)
    shadows = [passage._decision.shadow for passage in steps if passage._decision]
    assert [shadow is not None and shadow.changes for shadow in shadows] == [False] * 3 + [True] * 2
    checkpoint.volume = type("Down", (Asked,), {"count": lambda *_: UNAVAILABLE})()
    assert isinstance(read(checkpoint, 99), Forward)


def test_a_limit_on_requests_counts_each(tmp_path: Path) -> None:
    rule = "  - {id: two-a-minute, effect: deny, when: {resource.api: users, counts.requests_1m: {gt: 2}}}\n"
    checkpoint = a_checkpoint(a_bundle(tmp_path, rules=rule), MemoryCounts(1000, HeldClock()))
    assert reasons(read(checkpoint, 42) for _ in range(4)) == ["passes", "passes", "rule-denies", "rule-denies"]


def test_another_token_of_the_same_person_finds_the_same_count(checkpoint: Checkpoint) -> None:
    for user in range(3):
        read(checkpoint, user)
    said = reasons(read(checkpoint, 9, token=a_token(sub="alice", jti=jti)) for jti in ("one", "another"))
    assert said == ["rule-denies", "rule-denies"]
