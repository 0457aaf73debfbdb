# SPDX-License-Identifier: Apache-2.0
import asyncio
import logging
from typing import Any

import pytest

from proxy.errors import FetchError
from proxy.model.subject import Located, Told
from proxy.subject import asking
from proxy.subject.asking import FAILED_SECONDS, PATIENCE, RETRY_SECONDS, TELL_SECONDS, Asking
from proxy.subject.told import FAILED, NOT_FOUND
from proxy.telemetry import Metrics
from tests.support.lookups import JP, TW, ToldBackend, an_asked
from tests.support.world import wait_for


class Clocks:
    """Both clocks, which a test sets."""

    def __init__(self) -> None:
        self.unix = 1_800_000_000.0
        self.elapsed = 1000.0

    def pass_(self, seconds: float) -> None:
        self.unix += seconds
        self.elapsed += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    found = Clocks()
    monkeypatch.setattr(asking, "unix_seconds", lambda: found.unix)
    monkeypatch.setattr(asking, "elapsed_seconds", lambda: found.elapsed)
    return found


def make(backend: ToldBackend, metrics: Metrics | None = None, **changes: Any) -> Asking:
    return Asking(an_asked(**changes), backend, metrics or Metrics())


async def test_what_was_said_is_found(clocks: Clocks) -> None:
    backend = ToldBackend({"1": JP, "2": FAILED, "9": TW})
    register = make(backend)
    assert [register.find(id_, clocks.unix) for id_ in ("1", "2", "3")] == [None, None, None]
    await register.ask(["1", "2", "3"])
    assert [register.find(id_, clocks.unix) for id_ in ("1", "2", "3")] == [JP, FAILED, NOT_FOUND]
    assert backend.asked == [["1", "2", "3"]]
    assert register.find("9", clocks.unix) is None, "nobody asked for that"


async def test_what_is_known_is_not_asked_again(clocks: Clocks) -> None:
    backend = ToldBackend({"1": JP})
    register = make(backend)
    await register.ask(["1", "2"])
    await register.ask(["2", "1", "1", "3"])
    await register.ask([])
    assert backend.asked == [["1", "2"], ["3"]]


@pytest.mark.parametrize(
    ("id_", "seconds"),
    [
        pytest.param("1", 600, id="an answer is believed as long as it is fresh"),
        pytest.param("2", 30, id="that there is none is believed for a shorter time"),
        pytest.param("3", FAILED_SECONDS, id="a failure for a moment"),
    ],
)
@pytest.mark.parametrize("clock", ["unix", "elapsed"])
async def test_nothing_is_believed_for_longer(clocks: Clocks, id_: str, seconds: float, clock: str) -> None:
    backend = ToldBackend({"1": JP, "3": FAILED})
    register = make(backend)
    await register.ask([id_])
    clocks.pass_(seconds - 0.001)
    assert register.find(id_, clocks.unix) is not None
    setattr(clocks, clock, getattr(clocks, clock) + 0.002)
    assert register.find(id_, clocks.unix) is None
    await register.ask([id_])
    assert len(backend.asked) == 2


async def test_it_is_fresh_from_when_it_was_asked(clocks: Clocks) -> None:
    backend = ToldBackend({"1": JP})
    backend.go_on.clear()
    register = make(backend, fresh_seconds=10)
    question = asyncio.ensure_future(register.ask(["1"]))
    await wait_for(lambda: backend.asked)
    clocks.pass_(9)
    backend.go_on.set()
    await question
    assert register.find("1", clocks.unix) == JP
    clocks.pass_(1)
    assert register.find("1", clocks.unix) is None


async def test_a_clock_that_is_set_back_keeps_nothing_alive(clocks: Clocks) -> None:
    register = make(ToldBackend({"1": JP}))
    await register.ask(["1"])
    clocks.elapsed += 600
    clocks.unix -= 3600
    assert register.find("1", clocks.unix) is None


async def test_an_id_that_is_being_asked_for_is_not_asked_for_again() -> None:
    backend = ToldBackend({"1": JP, "2": TW, "3": JP})
    backend.go_on.clear()
    register = make(backend)
    first = asyncio.ensure_future(register.ask(["1", "2"]))
    await wait_for(lambda: backend.asked)
    second = asyncio.ensure_future(register.ask(["2", "3"]))
    await wait_for(lambda: len(backend.asked) == 2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    backend.go_on.set()
    await second
    assert backend.asked == [["1", "2"], ["3"]]
    assert [register.find(id_, 0) for id_ in "123"] == [JP, TW, JP], "who left has ended no question"


async def test_questions_are_bounded_in_size_and_number() -> None:
    ids = [str(number) for number in range(50)]
    backend = ToldBackend(dict.fromkeys(ids, JP), most=5)
    backend.go_on.clear()
    register = make(backend, at_once=3)
    question = asyncio.ensure_future(register.ask(ids))
    await wait_for(lambda: len(backend.asked) == 3)
    backend.go_on.set()
    await question
    assert backend.most_at_once == 3
    assert backend.asked == [ids[at : at + 5] for at in range(0, 50, 5)]


async def test_a_question_has_a_deadline_its_waiting_included() -> None:
    backend = ToldBackend({"1": JP}, most=1)
    backend.go_on.clear()
    register = make(backend, timeout_seconds=0.05, at_once=1)
    await register.ask(["1", "2"])
    assert [register.find(id_, 0) for id_ in "12"] == [FAILED, FAILED]
    assert backend.asked == [["1"]]


async def test_answers_are_bounded_in_number_and_those_used_last_stay(clocks: Clocks) -> None:
    backend = ToldBackend(dict.fromkeys("abcd", JP))
    register = make(backend, kept=3)
    await register.ask("abc")
    register.find("a", clocks.unix)
    await register.ask("d")
    assert [register.find(id_, clocks.unix) for id_ in "abcd"] == [JP, None, JP, JP]


@pytest.mark.parametrize("id_", ["", " 1", "1 ", "a\nb", "a\0", "\ud800", "x" * 256, "a\u200eb"])
async def test_a_text_that_names_nobody_is_not_asked_for(id_: str) -> None:
    backend = ToldBackend({})
    register = make(backend)
    assert register.find(id_, 0) == NOT_FOUND
    await register.ask([id_])
    assert backend.asked == []


@pytest.mark.parametrize("error", [FetchError("it answered 503"), TimeoutError(), OSError(), RuntimeError("any")])
async def test_while_it_is_down_nobody_waits_for_it(clocks: Clocks, error: Exception) -> None:
    backend, metrics = ToldBackend(dict.fromkeys("abcdefgh", JP)), Metrics()
    register = make(backend, metrics)
    backend.error = error

    def down() -> float | None:
        return metrics.registry.get_sample_value("sekisho_lookup_down", {"lookup": "staff"})

    register.show()
    for number, id_ in enumerate("abc"):
        assert down() == 0
        await register.ask([id_])
        assert len(backend.asked) == number + 1
    assert PATIENCE == 3
    assert down() == 1
    await register.ask("d")
    assert register.find("d", clocks.unix) == FAILED
    assert len(backend.asked) == 3, "nobody is asked"
    clocks.pass_(RETRY_SECONDS)
    backend.go_on.clear()
    trial = asyncio.ensure_future(register.ask("e"))
    await wait_for(lambda: len(backend.asked) == 4)
    await register.ask("f")
    assert register.find("f", clocks.unix) == FAILED, "one question is tried, and no other"
    backend.go_on.set()
    await trial
    assert down() == 1
    clocks.pass_(RETRY_SECONDS)
    backend.error = None
    await register.ask("g")
    await register.ask("h")
    assert [register.find(id_, clocks.unix) for id_ in "gh"] == [JP, JP]
    assert down() == 0
    results = {"failed": 4, "skipped": 2, "found": 2}
    for result, count in results.items():
        labels = {"lookup": "staff", "result": result}
        assert metrics.registry.get_sample_value("sekisho_lookups_total", labels) == count


async def test_what_makes_no_sense_says_nothing_of_other_ids(clocks: Clocks) -> None:
    backend = ToldBackend({"z": JP})
    register = make(backend)
    backend.error = ValueError("it answered no JSON")
    for id_ in "abcdef":
        await register.ask([id_])
        assert register.find(id_, clocks.unix) == FAILED
    backend.error = None
    await register.ask("z")
    assert register.find("z", clocks.unix) == JP


async def test_answers_between_failures_keep_it_up(clocks: Clocks) -> None:
    backend = ToldBackend({})
    register = make(backend)
    for number in range(3 * PATIENCE):
        backend.error = FetchError("down") if number % PATIENCE else None
        await register.ask([str(number)])
    assert len(backend.asked) == 3 * PATIENCE


async def test_the_log_says_now_and_then_why_and_never_of_whom(
    clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    backend = ToldBackend({})
    register = make(backend)
    for error in (FetchError("it answered 503"), ValueError("it answered no JSON"), KeyError("secret-id")):
        backend.error = error
        with caplog.at_level(logging.INFO):
            caplog.clear()
            await register.ask(["secret-id"])
            await register.ask(["secret-id2"])
        clocks.pass_(TELL_SECONDS)
        (record,) = caplog.records
        assert record.__dict__["lookup"] == "staff"
        assert "secret" not in caplog.text + str(record.__dict__)


async def test_closing_ends_what_is_under_way() -> None:
    backend = ToldBackend({"1": JP})
    backend.go_on.clear()
    register = make(backend)
    question = asyncio.ensure_future(register.ask(["1"]))
    await wait_for(lambda: backend.is_open)
    await register.close()
    await question
    assert not backend.is_open
    assert register.find("1", 0) is None
    backend.go_on.set()
    await register.ask(["1"])
    assert register.find("1", 0) == Located(Told.FOUND, ("JP",)), "it opens again"
    await register.settle()


async def test_what_is_kept_can_be_seen() -> None:
    metrics = Metrics()
    register = make(ToldBackend({}), metrics)
    register.show()
    await register.ask("abc")
    assert metrics.registry.get_sample_value("sekisho_lookup_entries", {"lookup": "staff"}) == 3
    assert metrics.registry.get_sample_value("sekisho_lookup_seconds_count") == 1
