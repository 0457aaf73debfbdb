# SPDX-License-Identifier: Apache-2.0
"""``sekisho run`` before it serves: the clock that it would decide by, and the files that it may have open."""

import logging
import resource

import pytest

from proxy.cli import main
from proxy.cli import run as verb
from proxy.settings import Settings


@pytest.mark.parametrize(
    ("now", "told"),
    [
        pytest.param(0.0, "The clock says 1970-01-01T00:00:00.000Z: ", id="never set"),
        pytest.param(1_767_225_599.0, "The clock says 2025-12-31T23:59:59.000Z: ", id="before this program"),
    ],
)
def test_by_a_clock_that_was_never_set_nothing_is_decided(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], now: float, told: str
) -> None:
    monkeypatch.setattr(verb, "unix_seconds", lambda: now)
    monkeypatch.setattr(verb, "configure_log", lambda _: None)
    assert main(["run"]) == 2
    assert capsys.readouterr().err == (
        f"sekisho: {told}tokens, grants and certificates cannot be judged by it. Set it, or wait until it is "
        "synchronised.\n"
    )


UNLIMITED = resource.RLIM_INFINITY
Limits = tuple[int, int]
LIMITS: dict[str, tuple[dict[str, int], Limits, Limits | None, bool]] = {
    "enough": ({}, (20_000, 20_000), None, False),
    "as many as there can be": ({}, (UNLIMITED, UNLIMITED), None, False),
    "few, and more can be had": ({}, (1024, 524_288), (14_352, 524_288), False),
    "few, and as many as one likes can be had": ({}, (1024, UNLIMITED), (14_352, UNLIMITED), False),
    "few, and some more can be had": ({}, (1024, 4096), (4096, 4096), True),
    "few, and no more": ({}, (1024, 1024), (1024, 1024), True),
    "no limit of connections but that": ({"max_connections": 0}, (1024, 4096), (4096, 4096), False),
    "no limit of connections at all": ({"max_connections": 0}, (1024, UNLIMITED), (UNLIMITED, UNLIMITED), False),
    "few connections": ({"max_connections": 100, "max_requests": 100}, (1024, 4096), None, False),
}


@pytest.mark.parametrize("case", LIMITS.values(), ids=LIMITS.keys())
def test_as_many_files_may_be_open_as_connections_and_requests_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    case: tuple[dict[str, int], Limits, Limits | None, bool],
) -> None:
    settings, limits, raised, is_told = case
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, to: made.append(to))
    with caplog.at_level(logging.WARNING):
        verb._allow_open_files(Settings(**settings))  # type: ignore[arg-type]
    assert made == ([] if raised is None else [raised])
    assert [f"{limits[1]} files may be open" in record.message for record in caplog.records] == [True] * is_told
