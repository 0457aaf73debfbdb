# SPDX-License-Identifier: Apache-2.0
"""Where Sekisho's time goes: its own process under cProfile, driven as in `bench.edge`, told by part of the code.

A profiler slows calls of Python functions and not what native code does, so the shares are a map and no measurement:
the figures of `bench.edge` are taken without it.
"""

from __future__ import annotations

import pstats
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.contenders.sekisho import command_of, write_inputs
from bench.duties import request_headers
from bench.harness import render_table
from bench.load import Load, drive, fill
from bench.processes import Launch, free_port, running
from bench.setting import Contender, Setting
from bench.workloads import SMALL

SECONDS: Final = 3.0
PARTS: Final = (
    ("passage: what is asked", r"/proxy/request/"),
    ("passage: who asks", r"/proxy/caller/|/jwt/|/cryptography/"),
    ("passage: from where", r"/proxy/origin/|/geoip2/|/maxminddb/"),
    ("passage: may they", r"/proxy/policy/"),
    ("passage: the flow itself", r"/proxy/pipeline/|/proxy/subject/|/proxy/model/|/proxy/clock"),
    ("ledger", r"/proxy/ledger/|posix\.write|/hashlib|blake2"),
    ("metrics", r"/proxy/telemetry|/prometheus_client/"),
    ("gateway", r"/proxy/gateway/"),
    ("aiohttp server", r"/aiohttp/web"),
    ("aiohttp client", r"/aiohttp/(client|connector|cookie)"),
    ("aiohttp, both sides", r"/aiohttp/|/multidict/|/yarl/|/propcache/|/frozenlist/|/aiosignal/"),
    ("event loop", r"/asyncio/|uvloop"),
)
"""Parts of the work by what the profiler calls them, first match."""
OTHER: Final = "everything else, native calls above all"


def profile(setting: Setting, token: str) -> Mapping[str, float]:
    """Return the share of each part in the process's own time, largest first."""
    room, port = setting.room("sekisho-profiled"), free_port()
    write_inputs(room, setting)
    command = command_of(room, port, free_port(), setting)
    behind_python = command.index(sys.executable) + 1
    command[behind_python:behind_python] = ["-m", "cProfile", "-o", str(room / "profile")]
    with running(Launch(command, setting.cores.contender, port, room / "output")) as pid:
        contender = Contender("Sekisho, profiled", pid, port, frozenset())
        load = Load(contender.url_of(SMALL.path), request_headers(token), setting.cores.driver)
        drive(fill(load, SECONDS))
    return shares_of(room / "profile")


def shares_of(path: Path) -> Mapping[str, float]:
    """Sum a profile's own times by part."""
    times: dict[str, float] = {}
    for (file, _, function), (_, _, own, _, _) in pstats.Stats(str(path)).stats.items():  # type: ignore[attr-defined]
        if "poll" in function or "run_until_complete" in function:
            continue  # waiting
        part = next((name for name, pattern in PARTS if re.search(pattern, f"{file}/{function}")), OTHER)
        times[part] = times.get(part, 0.0) + own
    whole = sum(times.values())
    return {part: time / whole for part, time in sorted(times.items(), key=lambda each: -each[1])}


def render_profile(shares: Mapping[str, float]) -> str:
    """Return the table for people."""
    rows = [[part, f"{share:.0%}"] for part, share in shares.items()]
    return "Where Sekisho's time goes, under a profiler\n" + render_table(("part", "share"), rows)
