# SPDX-License-Identifier: Apache-2.0
"""sd_notify(3), against a socket as a manager has it."""

import asyncio
import contextlib
import os
import secrets
import socket
import time
from pathlib import Path

import pytest

from proxy.systemd import Manager, find_manager
from tests.support.service_manager import listen_to_notices
from tests.support.world import wait_for


@pytest.fixture(params=["a path", "an abstract name"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    return tmp_path / "notify" if request.param == "a path" else f"@sekisho-{secrets.token_hex(8)}"


def test_each_thing_that_is_told_is_one_datagram(place: Path | str) -> None:
    with listen_to_notices(place) as notices:
        manager = Manager(notices.address)
        before = time.monotonic_ns() // 1000
        manager.tell_ready("callers are served")
        manager.tell_reloading()
        manager.tell_stopping()
        ready, reloading, stopping = notices.told()
    assert ready == {"READY": "1", "STATUS": "callers are served"}
    assert reloading.keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert stopping["STOPPING"] == "1"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028"])
def test_what_stands_in_a_line_does_not_become_a_line_of_its_own(tmp_path: Path, end: str) -> None:
    with listen_to_notices(tmp_path / "notify") as notices:
        Manager(notices.address).tell_ready(f"bundle a{end}MAINPID=1")
        assert notices.told() == [{"READY": "1", "STATUS": "bundle a MAINPID=1"}]


async def test_a_manager_that_watches_hears_of_us_twice_within_the_time_that_it_waits(tmp_path: Path) -> None:
    with listen_to_notices(tmp_path / "notify") as notices:
        began = asyncio.get_running_loop().time()
        beating = asyncio.ensure_future(Manager(notices.address, 0.1).beat())
        await wait_for(lambda: len(notices.said("WATCHDOG")) >= 4)
        took = asyncio.get_running_loop().time() - began
        assert took >= 0.1
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


@pytest.mark.parametrize("manager", [Manager(), Manager("", 1.0), Manager("/nowhere/notify")])
async def test_where_nobody_watches_nothing_beats(manager: Manager) -> None:
    await asyncio.wait_for(manager.beat(), 10)


def test_a_manager_that_is_gone_or_takes_no_more_changes_nothing_for_callers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Manager(str(tmp_path / "gone")).tell_ready("served")
    Manager("/" + "x" * 200).tell_ready("served")
    monkeypatch.setattr("proxy.systemd.SEND_SECONDS", 0.01)
    with listen_to_notices(tmp_path / "notify") as notices, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        filler.setblocking(False)  # noqa: FBT003
        with contextlib.suppress(BlockingIOError):
            while True:
                filler.sendto(b"X=1", notices.address)
        Manager(notices.address).tell_ready("served")
    assert [record.message for record in caplog.records] == ["the service manager could not be told"] * 3


def test_the_environment_names_the_manager_and_hands_it_on_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listen_to_notices(tmp_path / "notify") as notices:
        monkeypatch.setenv("NOTIFY_SOCKET", notices.address)
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        manager = find_manager()
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & {*os.environ}  # noqa: TID251
        manager.tell_ready("served")
        assert notices.said("READY") == ["1"]
        assert manager._watchdog_seconds == 30.0


NO_WATCHDOG = {
    "none is asked for": {},
    "it is another process that is watched": {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
    "it is no number": {"WATCHDOG_USEC": "soon"},
    "it is no time at all": {"WATCHDOG_USEC": "0"},
}


@pytest.mark.parametrize("variables", NO_WATCHDOG.values(), ids=NO_WATCHDOG)
async def test_nothing_beats_where(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "@nobody-listens-here")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    await asyncio.wait_for(find_manager().beat(), 10)


def test_an_address_of_a_kind_that_we_do_not_speak_is_said_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "vsock:2:9999")
    find_manager().tell_ready("served")
    assert [record.message for record in caplog.records] == [
        "the service manager is not told: NOTIFY_SOCKET is neither a path nor an abstract name"
    ]
