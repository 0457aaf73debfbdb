# SPDX-License-Identifier: Apache-2.0
"""The load: h2load from Debian's nghttp2-client, HTTP/1.1 over connections that stay open.

- A fixed number of requests, not a fixed time: in timed mode h2load (and wrk always) drops what is in flight
  at the end, which would charge a slow contender for up to one request per connection that nobody counts.
- wrk takes a 3xx for a success and tells no classes; h2load counts each, so "all were 2xx" can be checked.
- A round with one answer of another class, one failed or one timed-out request raises; it is never fast.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bench.harness import Answered, BenchError, find_program
from bench.processes import pinned

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ROUND_TIMEOUT_SECONDS: Final = 120.0
AT_ONCE: Final = 100
"""Connections that are opened at one moment, at most: every contender's listener has room for as many."""
LEAST_EACH: Final = 3
"""Requests on each connection, at least."""
RATE: Final = re.compile(r"finished in \S+, ([0-9.]+) req/s")
REQUESTS: Final = re.compile(
    r"requests: (\d+) total, \d+ started, (\d+) done, \d+ succeeded, \d+ failed, (\d+) errored, (\d+) timeout"
)
CLASSES: Final = re.compile(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")


@dataclass(frozen=True, slots=True)
class Load:
    """Describe the requests of one round."""

    url: str
    headers: Mapping[str, str]
    core: int
    """The core that the load generator is bound to."""

    requests: int = 500
    connections: int = 32
    status_class: int = 2
    """First digit of the status that every answer must have."""

    upload: Path | None = None
    """A file that each request posts; None asks with GET."""

    requests_per_second: float | None = None
    """A fixed rate over all connections; None drives as fast as the answers come."""
    log: Path | None = None
    """Where one line per request is appended: when it began, its status, how long it took."""


def drive(load: Load) -> Answered:
    """Send one round and return how many requests were answered as expected, in which time.

    Raises:
        BenchError: If any request was not.
    """
    try:
        with pinned(load.core):
            done = subprocess.run(
                command_of(load), capture_output=True, text=True, timeout=ROUND_TIMEOUT_SECONDS, check=False
            )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{load.url}: a round took over {ROUND_TIMEOUT_SECONDS:g} s") from error
    if done.returncode != 0:
        raise BenchError(f"h2load ended with code {done.returncode}: {done.stderr[-500:]}")
    return parse_report(done.stdout, load)


def command_of(load: Load) -> list[str]:
    """Return the command line of h2load."""
    program = find_program("h2load") or "h2load"
    sizes = ["-n", str(load.requests), "-c", str(load.connections), "-t", "1"]
    headers = [part for name, value in load.headers.items() for part in ("-H", f"{name}: {value}")]
    upload = [] if load.upload is None else ["-d", str(load.upload)]
    log = [] if load.log is None else ["--log-file", str(load.log)]
    return [program, "--h1", *sizes, *rate_of(load), *upload, *log, *headers, load.url]


def rate_of(load: Load) -> list[str]:
    """Return the options for a fixed rate, which h2load wants per connection, and for many connections.

    Connections open one each millisecond or more: opened at once, all would ask at the same moments for ever, and what
    is measured would be how a queue of as many as there are connections is served.
    """
    if load.requests_per_second is None:
        # Thousands of handshakes at one moment overflow a listener's queue, and those that do not fit are reset later.
        return [] if load.connections <= AT_ONCE else ["--rate", str(AT_ONCE), "--rate-period", "10ms"]
    period = load.connections / load.requests_per_second
    apart = max(1, round(1000 * period / load.connections))
    return ["--rps", f"{1 / period:.3f}", "--rate", "1", "--rate-period", f"{apart}ms"]


def parse_report(report: str, load: Load) -> Answered:
    """Turn the report of h2load into counts.

    Raises:
        BenchError: If a request was not answered, or not with the expected class of status.
    """
    rate, counts, classes = RATE.search(report), REQUESTS.search(report), CLASSES.search(report)
    if rate is None or counts is None or classes is None:
        raise BenchError(f"h2load's report is not understood: {report[-500:]}")
    expected = int(classes[load.status_class - 1])
    total, done, errored, timeout = map(int, counts.groups())
    if not total == done == expected == load.requests or errored or timeout:
        raise BenchError(f"{load.url}: not every answer was {load.status_class}xx: {counts[0]}; {classes[0]}")
    # h2load rounds its own "finished in"; the rate has more digits.
    return Answered(done, done / float(rate[1]))


def fill(load: Load, seconds: float) -> Load:
    """Return the load with as many requests as fill the wanted time; this warms the contender up as well."""
    while (answered := drive(load)).seconds < seconds / 4:
        load = replace(load, requests=load.requests * 2)
    wanted = round(answered.requests / answered.seconds * seconds)
    return replace(load, requests=max(LEAST_EACH * load.connections, wanted))
