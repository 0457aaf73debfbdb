# SPDX-License-Identifier: Apache-2.0
"""Who was denied what within the last hour: told apart, bounded, and one caller whichever worker denied it."""

from collections.abc import Mapping
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry import attempts as module
from proxy.telemetry.attempts import SECONDS, Attempt, Attempts

NOW: Final = 1_800_000_000.0


class Clock:
    """Tells the time that a test says it is."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Worker:
    """One process that remembers."""

    def __init__(self, clock: Clock, key: bytes = b"key") -> None:
        self.forgotten = 0
        self.clock = clock
        self.attempts = Attempts(key, self._forget, clock)

    def _forget(self) -> None:
        self.forgotten += 1

    def deny(self, who: str, place: str, subject: str = "", affiliate: str = "shanghai-digital") -> None:
        name = self.attempts.name
        self.attempts.note((affiliate, name(who)), name(place), [subject] if subject else [], int(self.clock.now))

    @property
    def most(self) -> tuple[Mapping[tuple[str, ...], float], Mapping[tuple[str, ...], float]]:
        return self.attempts.find_most_routes(), self.attempts.find_most_subjects()


def test_the_most_is_that_of_one_caller_and_not_of_all_together() -> None:
    worker = Worker(Clock())
    for who, place, subject in (
        ("idp|a", "user", "1"), ("idp|a", "user", "2"), ("idp|a", "friends", "1"), ("idp|b", "user", "3"),
        ("idp|b", "user", "3"), ("idp|b", "/v1/*", ""),
    ):  # fmt: skip
        worker.deny(who, place, subject)
    worker.deny("idp|c", "user", "9", affiliate="ly")
    assert worker.most == ({("shanghai-digital",): 2, ("ly",): 1}, {("shanghai-digital",): 2, ("ly",): 1})


def test_an_attempt_is_remembered_for_an_hour_since_it_was_made_last() -> None:
    clock = Clock()
    worker = Worker(clock)
    worker.deny("idp|a", "user", "1")
    worker.deny("idp|a", "friends", "2")
    clock.now += SECONDS - 1
    worker.deny("idp|a", "user", "1")
    assert worker.most == ({("shanghai-digital",): 2}, {("shanghai-digital",): 2})
    clock.now += 1
    assert worker.most == ({("shanghai-digital",): 1}, {("shanghai-digital",): 1})
    clock.now += SECONDS
    assert worker.most == ({}, {})
    assert worker.attempts.tell() == ()


def test_nothing_that_is_told_names_anybody() -> None:
    worker = Worker(Clock())
    worker.deny("https://idp|e-000417", "user-of-jp", "u4711")
    told = msgspec.json.encode(worker.attempts.tell()).decode()
    assert "shanghai-digital" in told
    assert not [name for name in ("idp", "e-000417", "user-of-jp", "u4711") if name in told]


def test_another_key_gives_another_name() -> None:
    names = set()
    for key in (b"one", b"other"):
        worker = Worker(Clock(), key)
        worker.deny("idp|a", "user")
        names |= {each.caller for each in worker.attempts.tell()}
    assert len(names) == 2


# Bounds.


def test_one_caller_is_remembered_with_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MEMBERS", 3)
    worker = Worker(Clock())
    for number in range(10):
        worker.deny("idp|a", "user", str(number))
    assert worker.most == ({("shanghai-digital",): 1}, {("shanghai-digital",): 3})
    assert worker.forgotten == 7


def test_many_callers_are_remembered_up_to_so_much_and_those_denied_last_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 20)
    worker = Worker(Clock())
    for number in range(100):
        worker.deny(f"idp|{number}", "user", "1")
        worker.deny("idp|persistent", f"route-{number % 5}")
    assert worker.forgotten > 0
    assert sum(len(each.routes) + len(each.subjects) for each in worker.attempts.tell()) <= 20
    assert worker.most[0] == {("shanghai-digital",): 5}


def test_whom_many_of_another_affiliate_are_denied_beside_is_not_forgotten_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 40)
    worker = Worker(Clock())
    for number in range(10):
        worker.deny("idp|patient", f"route-{number}")
    for number in range(500):
        worker.deny(f"idp|{number}", "user", "1", affiliate=f"many-{number % 2}")
    assert worker.forgotten > 0
    assert worker.most[0]["shanghai-digital",] == 10


def test_of_many_affiliates_none_is_remembered_beyond_what_all_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 20)
    worker = Worker(Clock())
    for number in range(100):
        worker.deny(f"idp|{number}", "user", "1", affiliate=f"firm-{number}")
        assert sum(len(each.routes) + len(each.subjects) for each in worker.attempts.tell()) <= 20
    assert max(worker.most[0].values()) == 1
    assert len(worker.most[0]) <= 10


def test_what_another_one_remembered_is_forgotten_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 40)
    clock = Clock()
    ended, worker = Worker(clock), Worker(clock)
    ended.deny("idp|a", "old")
    ended.deny("idp|b", "user")
    clock.now += SECONDS - 2
    worker.deny("idp|a", "new")
    worker.deny("idp|c", "new")
    ended.deny("idp|a", "newer")
    worker.attempts.take(ended.attempts.tell())
    assert worker.most[0] == {("shanghai-digital",): 3}
    clock.now += 2
    assert worker.most[0] == {("shanghai-digital",): 2}
    assert len(worker.attempts.tell()) == 2
    clock.now += SECONDS
    assert worker.attempts.tell() == ()


# Workers.

DENIALS: Final = st.lists(
    st.tuples(
        st.sampled_from(["idp|a", "idp|b", "idp|c"]),
        st.sampled_from(["user", "friends", "/v1/*"]),
        st.sampled_from(["", "1", "2", "3"]),
        st.sampled_from(["ly", "shanghai-digital"]),
        st.integers(0, SECONDS),
        st.integers(0, 2),
    ),
    max_size=40,
)


@given(DENIALS, st.integers(0, 40))
def test_callers_are_one_whichever_worker_denies_them_and_whether_it_lives(
    denials: list[tuple[str, str, str, str, int, int]], killed: int
) -> None:
    clock = Clock()
    alone, supervisor, workers = Worker(clock), Worker(clock), [Worker(clock) for _ in range(3)]
    told = [*workers]
    supervisor.attempts.elsewhere = lambda: [roundtrip(each) for each in told]
    for number, (who, place, subject, affiliate, after, which) in enumerate(denials):
        clock.now = NOW + after
        alone.deny(who, place, subject, affiliate)
        workers[which].deny(who, place, subject, affiliate)
        if number == killed:
            supervisor.attempts.take(roundtrip(workers[0]))
            workers[0] = told[0] = Worker(clock)
    clock.now = NOW + SECONDS - 1
    assert supervisor.most == alone.most


def roundtrip(worker: Worker) -> tuple[Attempt, ...]:
    """Return what a worker tells, as it comes through the channel."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(worker.attempts.tell()), type=tuple[Attempt, ...])
