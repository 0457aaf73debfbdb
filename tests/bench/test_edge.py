# SPDX-License-Identifier: Apache-2.0
"""What the edge benchmark makes of its measurements, and what it sends."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
from collections import Counter
from xml.etree import ElementTree as ET

import pytest

from bench import callers, chart, findings, latency, page
from bench.answers import ARCHIVE_BODY, HISTORY_BODY, SMALL_BODY
from bench.callers import Callers
from bench.findings import PROMISES, Findings, figures_of, tables_of, targets_of
from bench.growth import Curve
from bench.harness import Answered, BenchError, Comparison, ProcessMeter, Round, render_table
from bench.idle import Idle
from bench.latency import Latencies, Percentiles
from bench.load import Load, command_of
from bench.races import Race, Result
from bench.setting import Contender
from bench.starts import ANCHOR, Starts
from bench.workloads import SMALL, WORKLOADS, Workload

COSTS = {"HAProxy": [80.0, 100.0, 90.0], "Envoy": [100.0, 125.0, 112.5], "Sekisho": [160.0, 50.0, 90.0]}


def a_race(workload: Workload) -> Race:
    done = Round(1_000_000, Answered(100, 0.5))
    results = [
        Result(Contender(name, 1, 1, frozenset()), ProcessMeter(1, lambda: done.answered, [done]), 20.0)
        for name in COSTS
    ]
    return Race(workload, Comparison("HAProxy", COSTS), results)


def all_findings() -> Findings:
    percentiles = dict.fromkeys(COSTS, Percentiles(300.0, 900.0, 1500.0))
    idle = {"HAProxy": Idle(1.0, 15.0), "naive aiohttp": Idle(11.0, None), "Sekisho": Idle(7.0, 50.0)}
    starts = Starts(Comparison(ANCHOR, {ANCHOR: [0.3] * 3, "Sekisho": [0.6] * 3}), 80.0)
    curve = Curve("rules", (10, 100), Comparison("10", {"10": [100.0] * 3, "100": [110.0] * 3}))
    latencies = Latencies(5000.0, Comparison("HAProxy", COSTS), percentiles)
    return Findings([a_race(each) for each in WORKLOADS], latencies, idle, starts, [curve])


def test_every_promise_is_about_a_figure_that_a_full_run_has() -> None:
    assert targets_of(all_findings()).keys() == PROMISES.keys()


def test_a_promise_about_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert targets_of(Findings(races=[a_race(SMALL)])).keys() == {
        "small_sekisho_to_haproxy",
        "small_sekisho_to_envoy",
    }


def test_ratios_in_the_figures_are_of_the_same_round() -> None:
    figures = figures_of(all_findings())
    assert figures["small_sekisho_to_haproxy"] == 1.0
    assert figures["small_envoy_to_haproxy"] == 1.25
    assert math.isclose(figures["small_sekisho_to_envoy"], 0.8)


def test_all_tables_are_as_wide_as_their_headings() -> None:
    for _, (heading, rows) in tables_of(all_findings()):
        assert {len(row) for row in rows} == {len(heading)}
        assert render_table(heading, rows)


def test_the_page_keeps_what_people_wrote_around_its_figures() -> None:
    before = f"above\n{page.BEGIN}\nold\n{page.END}\nbelow\n"
    after = page.put_between_marks(before, "new")
    assert (after.count("above\n"), after.count("old"), after.count("new"), after.count("\nbelow\n")) == (1, 0, 1, 1)
    assert page.put_between_marks(after, "new") == after


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(BenchError, match="no place for figures"):
        page.put_between_marks(f"{page.END}\n{page.BEGIN}", "new")


def test_the_page_as_it_lies_there_has_its_marks() -> None:
    assert "new" in page.put_between_marks(page.PAGE.read_text(encoding="utf-8"), "new")


def test_losses_are_told_by_workload_and_by_target() -> None:
    told = "\n".join(page.losses(all_findings()))
    assert "Target missed: `idle_connection_sekisho_kibibytes` is 7.00" in told
    assert "of HAProxy" not in told  # 1.00 is no loss
    assert "start_to_imports" not in told


def test_the_chart_is_xml_with_a_bar_for_each_gateway_of_each_workload() -> None:
    races = [a_race(each) for each in WORKLOADS]
    root = ET.fromstring(chart.render_chart(races))  # noqa: S314 - our own
    bars = [each for each in root.iter() if each.tag.endswith("rect")]
    assert len(bars) == 1 + len(races) * len(COSTS)


# Latency

CORRECTED = [
    pytest.param([300, 400], 1000.0, [300, 400], id="answers before the next is due stand as they are"),
    pytest.param([2500], 1000.0, [2500, 1500, 500], id="a late answer is also that of those it put off"),
    pytest.param([1000], 1000.0, [1000], id="one just in time puts off nobody"),
]


@pytest.mark.parametrize(("times", "due", "expected"), CORRECTED)
def test_times_are_corrected_for_what_was_not_sent(times: list[int], due: float, expected: list[int]) -> None:
    assert list(latency.corrected(times, due)) == expected


def test_percentiles_are_of_all_times() -> None:
    found = latency.percentiles_of(list(range(1, 1002)))
    assert (found.p50, found.p99, found.p999) == (501.0, 991.0, 1000.0)


def test_connections_at_a_fixed_rate_have_a_phase_of_their_own() -> None:
    command = command_of(Load("http://127.0.0.1:1/", {}, core=0, connections=32, requests_per_second=3200))
    assert command[command.index("--rps") + 1] == "100.000"
    assert command[command.index("--rate") + 1] == "1"


# What is sent


def test_workloads_have_ids_of_their_own_and_answers_of_the_promised_size() -> None:
    assert max(Counter(each.id for each in WORKLOADS).values()) == 1
    assert (len(HISTORY_BODY), len(ARCHIVE_BODY)) == (64 * 1024, 1024 * 1024)
    assert not set(b"$'") & set(SMALL_BODY)  # nginx's configuration holds it


class Server(threading.Thread):
    """Answers what is asked for, in the turn in which it is asked, on any number of connections."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(daemon=True)
        self.asked: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self._answer = answer

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):
            while head := connection.recv(4096):
                self.asked.append(head)
                half = len(self._answer) // 2
                connection.sendall(self._answer[:half])
                connection.sendall(self._answer[half:])

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEADS = [callers.render_head(f"/{number}", {}) for number in range(5)]


def test_callers_ask_in_turn_and_as_often_as_told() -> None:
    many = Callers(HEADS, 200, b"ok", core=0, connections=2)
    with Server(OK) as server:
        port = server.listener.getsockname()[1]
        assert many.drive(port, 7).requests == 7
        assert many.drive(port, 3).requests == 3
    assert Counter(server.asked) == Counter(dict.fromkeys(HEADS, 2))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK.replace(b"200", b"502"), id="another status"),
        pytest.param(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nok", id="a refusal, which is quick"),
    ],
)
def test_one_wrong_answer_spoils_the_round_of_many_callers(answer: bytes) -> None:
    many = Callers(HEADS, 200, b"ok", core=0, connections=1)
    with Server(answer) as server, pytest.raises(BenchError, match="an answer is not 200"):
        many.drive(server.listener.getsockname()[1], 3)


def test_what_a_profile_or_a_race_lacks_is_no_figure() -> None:
    assert findings.figures_of(Findings()) == {}
