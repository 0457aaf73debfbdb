# SPDX-License-Identifier: Apache-2.0
"""The harness refuses what cannot be trusted, and pairs what can."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest

from bench import harness, load
from bench.harness import BenchError, Need, Target

REPORT = """
finished in 1.01s, 990.10 req/s, 1.0MB/s
requests: 1000 total, 1000 started, {done} done, {done} succeeded, 0 failed, {errored} errored, 0 timeout
status codes: {ok} 2xx, 0 3xx, {refused} 4xx, 0 5xx
"""
LOAD = load.Load("http://127.0.0.1:1/", {}, core=0, requests=1000)


def test_ratios_are_of_the_same_round() -> None:
    """A machine that halves its speed midway moves both costs, and no ratio."""
    mood = itertools.cycle([1.0, 2.0])
    drift = [next(mood) for _ in range(62)]
    anchor, other = iter(drift), iter(drift)
    compared = harness.paired({"a": lambda: next(anchor), "b": lambda: 3 * next(other)}, "a", 31)
    assert compared.ratio("b") == harness.Spread(3.0, 3.0, 3.0)


def test_order_gives_each_contender_each_place() -> None:
    """Over six rounds of three, everyone is first twice, and has both others before it."""
    orders = [harness.order_of_round(["a", "b", "c"], number) for number in range(6)]
    assert sorted(order[0] for order in orders) == ["a", "a", "b", "b", "c", "c"]
    followers = {pair for order in orders for pair in itertools.pairwise(order)}
    assert len(followers) == len(list(itertools.permutations("abc", 2)))


@pytest.mark.parametrize(("rounds", "anchor"), [(30, "a"), (31, "none")])
def test_too_few_rounds_or_no_anchor_is_refused(rounds: int, anchor: str) -> None:
    """Nothing is measured then."""
    with pytest.raises(BenchError):
        harness.paired({"a": lambda: 1.0}, anchor, rounds)


def test_a_cost_of_nothing_is_refused() -> None:
    """A process that used no CPU did no work, or was not the one that was driven."""
    with pytest.raises(BenchError, match="stood still"):
        harness.paired({"a": lambda: 0.0}, "a")


def test_a_process_that_ended_within_a_round_is_refused() -> None:
    """What it spent is unknown."""
    with pytest.raises(BenchError, match="7 ended"):
        harness.cpu_spent({6: 1, 7: 1}, {6: 2})


def test_cpu_clock_counts_threads_that_ended() -> None:
    """The sum of /proc/PID/task/*/schedstat would lose them."""
    spin = "x = t.Thread(target=lambda: sum(range(3_000_000))); x.start(); x.join()"
    code = f"import threading as t; {spin}; print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert harness.cpu_nanoseconds(process.pid) > 20_000_000
        assert process.pid in harness.tree_of(os.getpid())
        process.kill()


def test_a_clean_report_counts() -> None:
    """All done, all 2xx."""
    assert load.parse_report(REPORT.format(done=1000, errored=0, ok=1000, refused=0), LOAD).requests == 1000


@pytest.mark.parametrize(
    "counts",
    [
        {"done": 1000, "errored": 0, "ok": 999, "refused": 1},
        {"done": 999, "errored": 1, "ok": 999, "refused": 0},
        {"done": 1000, "errored": 0, "ok": 0, "refused": 1000},
    ],
)
def test_one_wrong_answer_spoils_the_round(counts: dict[str, int]) -> None:
    """A refusal is quick: it must never count as speed."""
    with pytest.raises(BenchError, match="not every answer was 2xx"):
        load.parse_report(REPORT.format(**counts), LOAD)


def test_missing_things_are_named_in_one_sentence() -> None:
    """With where to get each."""
    gone = Need("sekisho-no-such", "Debian's nothing", harness.find_program)
    with pytest.raises(BenchError, match=r"^Missing for this benchmark: sekisho-no-such \(Debian's nothing\)\.$"):
        harness.require(gone, Need("sh", "Debian's dash", harness.find_program))


def test_targets_know_their_direction() -> None:
    """At most, or at least."""
    assert Target(1.9, 2.0).met
    assert not Target(1.9, 2.0, at_most=False).met


def test_a_zombie_has_ended() -> None:
    """Its clock can still be read; it must not pass for a process that merely rests."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as process:
        before = harness.cpu_by_process(process.pid)
        process.kill()
        harness.wait_until(lambda: not harness.tree_of(process.pid), "its end")
        with pytest.raises(BenchError, match="ended"):
            harness.cpu_spent(before, harness.cpu_by_process(process.pid))
