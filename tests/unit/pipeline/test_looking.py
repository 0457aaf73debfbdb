# SPDX-License-Identifier: Apache-2.0
"""A look into one answer: what is held, what may leave when, and what is counted."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest

from proxy.model.decision import AppliedRule, Certainty, Decision, Effect, Reason
from proxy.model.facts import Fact
from proxy.model.filtering import AnswerRefusedError, Content, RecordCount, Verdict
from proxy.model.inspection import Inspection, Media, OnDenied
from proxy.model.subject import LookupNeeded, Subject
from proxy.pipeline.looking import NOTHING_FOUND, Look, Passed
from proxy.policy.evaluate import MAX_LISTED
from proxy.redaction.answers import Reading

HOLD: Final = 10
NEED: Final = LookupNeeded("staff", ("7",))


def a_decision(*rules: str, effect: Effect = Effect.ALLOW, **more: Any) -> Decision:
    applied = tuple(AppliedRule(id_, effect, Certainty.MATCHED, id_) for id_ in rules)
    reason = Reason.RULE_ALLOWS if effect is Effect.ALLOW else Reason.RULE_DENIES
    return Decision(effect, reason, applied[0] if applied else None, applied, (), **more)


LETS: Final = Verdict(a_decision("lets"), is_allowed=True)
DENIES: Final = Verdict(a_decision("denies", effect=Effect.DENY), is_allowed=False)


class Letters:
    """Lets capitals leave, drops the rest, and stumbles where it is told.

    ``!`` is refused, ``#`` is a defect, ``?`` waits once for somebody else, ``~`` waits for ever.
    """

    def __init__(self) -> None:
        self.is_waiting = False
        self.has_asked = False
        self.missing: list[LookupNeeded] = []
        self._waiting = b""
        self._content = Content()

    def feed(self, data: bytes) -> bytes:
        data, self._waiting, self.is_waiting = self._waiting + data, b"", False
        for at, letter in enumerate(data.decode()):
            if letter == "!":
                raise AnswerRefusedError(Reason.ANSWER_MALFORMED)
            if letter == "#":
                raise ZeroDivisionError
            if letter == "~" or (letter == "?" and not self.has_asked):
                self.is_waiting, self._waiting = True, data[at:]
                if letter == "?":
                    self.missing.append(NEED)
                    self.has_asked = True
                return self._let(data[:at])
        return self._let(data)

    def end(self) -> bytes:
        return b""

    def take_content(self) -> Content:
        content, self._content = self._content, Content()
        return content

    def _let(self, data: bytes) -> bytes:
        left = bytes(each for each in data if chr(each).isupper())
        held = self._content
        self._content = Content(
            seen=held.seen + len(data),
            dropped=held.dropped + len(data) - len(left),
            by_verdict=tuple(
                (verdict, count) for verdict, count in ((LETS, len(left)), (DENIES, len(data) - len(left))) if count
            ),
        )
        return left


class NamesNobody:
    tells_ids = False

    def __init__(self, filter_: Letters) -> None:
        self._filter = filter_

    @property
    def missing(self) -> tuple[LookupNeeded, ...]:
        missing, self._filter.missing = tuple(self._filter.missing), []
        return missing

    def judge(self, country: Fact[str], id_: Fact[str]) -> Verdict:
        raise AssertionError((country, id_))

    def take_shown(self) -> list[Subject]:
        return []

    def name(self, verdict: Verdict) -> str:
        return "TW" if verdict.is_allowed else "JP"

    def is_same_under(self, *_: object) -> bool:
        return True


class Doubling:
    """Decodes each byte to as many as it is told."""

    def __init__(self, times: int = 1) -> None:
        self._times = times
        self.is_broken = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        return iter((data * self._times,) if data else ())

    def end(self) -> None:
        if self.is_broken:
            raise AnswerRefusedError(Reason.ANSWER_CODING_BROKEN)


class Bracketing:
    """Encodes visibly."""

    def encode(self, data: bytes) -> bytes:
        return b"<%b>" % data if data else b""

    def end(self) -> bytes:
        return b"$"


def a_look(
    *,
    media: Media = Media.JSON,
    on_denied: OnDenied = OnDenied.DROP,
    observes: bool = False,
    times: int = 1,
    replacement: bytes | None = None,
    has_body: bool = True,
) -> Look:
    filter_ = Letters()
    reading = Reading(200, (), has_body, replacement, Doubling(times), Bracketing())
    return Look(
        Inspection(media=media, on_denied=on_denied),
        reading,
        filter_,
        NamesNobody(filter_),
        hold_bytes=HOLD,
        observes=observes,
    )


def left(look: Look, *parts: bytes) -> list[object]:
    """Give parts, the last one the end, and return what comes of each: what may leave, what is needed, or None."""
    told: list[object] = []
    for number, part in enumerate(parts):
        looked = look.look(part, ended=number == len(parts) - 1)
        told.append(looked.data if isinstance(looked, Passed) else looked)
    return told


def test_a_small_answer_is_held_until_it_is_whole() -> None:
    assert left(a_look(), b"Ab", b"C", b"") == [None, None, b"<AC>$"]


def test_a_larger_one_leaves_from_where_it_is_too_large_to_hold() -> None:
    assert left(a_look(), b"Abcdefghij", b"K", b"L", b"") == [None, b"<AK>", b"<L>", b"$"]


def test_what_is_held_is_told_by_what_it_decodes_to() -> None:
    assert left(a_look(times=6), b"A", b"B", b"") == [None, b"<AAAAAABBBBBB>", b"$"]


@pytest.mark.parametrize("media", [Media.LINES, Media.EVENTS])
def test_a_stream_leaves_as_it_comes(media: Media) -> None:
    assert left(a_look(media=media), b"a", b"B", b"c", b"D", b"") == [None, b"<B>", b"", b"<D>", b"$"]


def test_nothing_is_said_of_a_part_in_which_nothing_was_found() -> None:
    assert left(a_look(media=Media.LINES), b"B", b"", b"D", b"") == [b"<B>", None, b"<D>", b"$"]


def test_what_was_dropped_is_told_where_nothing_leaves() -> None:
    look = a_look(media=Media.LINES)
    look.look(b"B", ended=False)
    passed = look.look(b"xyz", ended=False)
    assert isinstance(passed, Passed)
    assert (passed.data, passed.found.content.dropped) == (b"", 3)
    assert passed.found.counts == (RecordCount("dropped", "denies", "JP", 3),)


def test_a_stream_of_which_nothing_may_leave_begins_once_it_is_too_large_to_hold() -> None:
    look = a_look(media=Media.LINES)
    assert left(look, b"abcdefghij", b"k") == [None, b"$"]
    look = a_look(media=Media.LINES)
    assert look.look(b"abcdefghij", ended=False) is None
    passed = look.look(b"k", ended=False)
    assert isinstance(passed, Passed)
    assert (passed.data, passed.is_first, passed.found.content.seen) == (b"", True, 11)


def test_what_one_denied_record_refuses_must_be_known_whole() -> None:
    look = a_look(on_denied=OnDenied.REFUSE)
    assert look.look(b"ABCDEFGHIJ", ended=False) is None
    with pytest.raises(AnswerRefusedError) as refused:
        look.look(b"K", ended=False)
    assert refused.value.reason is Reason.ANSWER_TOO_LARGE


def test_what_is_missing_is_asked_for_and_nothing_leaves_meanwhile() -> None:
    look = a_look()
    assert look.look(b"A?B", ended=True) == (NEED,)
    passed = look.look(b"", ended=True)
    assert isinstance(passed, Passed)
    assert (passed.data, passed.is_first, passed.is_last) == (b"<AB>$", True, True)


def test_an_end_before_a_record_that_nobody_can_judge_is_none() -> None:
    look = a_look()
    with pytest.raises(AnswerRefusedError) as refused:
        look.look(b"A~B", ended=True)
    assert refused.value.reason is Reason.DECISION_FAILED


@pytest.mark.parametrize(("data", "error"), [(b"A!", AnswerRefusedError), (b"A#", ZeroDivisionError)])
def test_what_goes_wrong_is_told(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        a_look().look(data, ended=False)


def test_a_coding_that_breaks_off_is_no_end() -> None:
    look = a_look()
    assert isinstance(look.reading.decoder, Doubling)
    look.reading.decoder.is_broken = True
    with pytest.raises(AnswerRefusedError) as refused:
        look.look(b"A", ended=True)
    assert refused.value.reason is Reason.ANSWER_CODING_BROKEN


def test_a_body_that_is_replaced_is_not_looked_at() -> None:
    assert left(a_look(replacement=b"instead"), b"A!#", b"") == [None, b"instead"]
    passed = a_look(replacement=b"instead").look(b"A", ended=True)
    assert isinstance(passed, Passed)
    assert passed.found is NOTHING_FOUND


def test_where_there_is_no_body_none_leaves() -> None:
    assert left(a_look(has_body=False), b"A!#") == [b""]


# Where refusals are only observed.

OBSERVED: Final[dict[str, tuple[bytes, bool]]] = {
    "nothing is dropped": (b"ABC", False),
    "something is dropped": (b"AbC", True),
    "it is refused": (b"AB!C", True),
    "it befalls us": (b"AB#C", True),
}


@pytest.mark.parametrize(("data", "is_refusal"), OBSERVED.values(), ids=OBSERVED)
def test_what_is_only_observed_leaves_as_it_came(data: bytes, is_refusal: bool) -> None:  # noqa: FBT001
    look = a_look(observes=True)
    assert left(look, data, b"") == [None, data]
    assert look.is_observed_refusal == is_refusal
    look = a_look(observes=True, media=Media.LINES)
    assert left(look, data, data, b"") == [data, data, b""]


def test_a_defect_is_kept_for_the_operator() -> None:
    look = a_look(observes=True)
    look.look(b"#", ended=True)
    assert isinstance(look.error, ZeroDivisionError)
    assert look.refused is not None
    assert look.refused.reason is Reason.DECISION_FAILED


# What the verdicts come to.


def test_what_left_decides_and_what_was_dropped_is_listed() -> None:
    look = a_look()
    look.look(b"Ab", ended=True)
    decision = look.find_decision()
    assert decision is not None
    assert (decision.effect, decision.rule_id) == (Effect.ALLOW, "lets")
    assert [rule.id for rule in decision.applied] == ["lets", "denies"]


def test_where_nothing_left_what_was_dropped_decides() -> None:
    look = a_look()
    look.look(b"ab", ended=True)
    decision = look.find_decision()
    assert decision is not None
    assert decision.rule_id == "denies"


def test_where_there_was_nothing_nothing_is_decided() -> None:
    look = a_look()
    look.look(b"", ended=True)
    assert look.find_decision() is None


def test_of_many_rules_as_many_are_listed_as_a_decision_lists() -> None:
    look = a_look()
    names = [f"r{number:02}" for number in range(20)]
    for name in names:
        verdict = Verdict(a_decision(name, unlisted=2), is_allowed=True)
        look._verdicts[id(verdict)] = verdict
    dropped = Verdict(a_decision("denies", effect=Effect.DENY), is_allowed=False)
    look._verdicts[id(dropped)] = dropped
    decision = look.find_decision()
    assert decision is not None
    assert [rule.id for rule in decision.applied] == names[:MAX_LISTED]
    assert decision.unlisted >= len(names) + 1 - MAX_LISTED


def test_it_is_known_until_when_the_grants_hold_by_which_records_leave() -> None:
    look = a_look(media=Media.LINES)
    look._count(msgspec.structs.replace(LETS, decision=a_decision("lets", until=7.0)), 1)
    look._count(msgspec.structs.replace(LETS, decision=a_decision("lets", until=9.0)), 1)
    look._count(msgspec.structs.replace(DENIES, decision=a_decision("denies", until=5.0)), 1)
    assert look.until == 7.0


def test_a_record_is_masked_by_the_rule_that_says_so() -> None:
    rules = (
        AppliedRule("lets", Effect.ALLOW, Certainty.MATCHED, ""),
        AppliedRule("hides", Effect.MASK, Certainty.MATCHED, ""),
    )
    decision = msgspec.structs.replace(a_decision("lets"), applied=rules)
    verdict = Verdict(decision, is_allowed=True, transforms={"user.name": "mask"})  # type: ignore[dict-item]
    assert a_look()._count(verdict, 3) == RecordCount("masked", "hides", "TW", 3)
