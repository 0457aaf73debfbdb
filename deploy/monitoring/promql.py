# SPDX-License-Identifier: Apache-2.0
"""Ways to ask Prometheus that every alert and dashboard shares, so that each is reasoned about once."""

from textwrap import indent
from typing import Final

MEMORY: Final = "1h"
"""How long before a window its first sample may lie: a gateway that was not scraped for longer counts as a new one."""

WHY_EVENTS: Final = """\
How many events each series counted within the window: what the counter has now, less what this very counter had when \
the window began, or last before that where a scrape was missed. increase() does not do:
- A series comes to be with its first event. increase() needs a sample before it and so never sees the first.
- A gateway that restarts counts from one again. 1 before and 1 after looks like nothing; _created tells. Without it \
(PROMETHEUS_DISABLE_CREATED_SERIES) a restart is seen where the counter is lower than before.
- Between failed scrapes there may have been events.
- increase() guesses what lies between the window's edges and its samples: 1 becomes 1.05.
What a process that has ended counted is forgotten with it: it was there to be seen before."""


def events(counter: str, window: str, matchers: str = "", ago: str = "") -> str:
    """Return what counts a counter's events within a window, exactly: the first one and restarts seen.

    Args:
        counter: its name, which ends in ``_total``.
        window: such as ``5m``.
        matchers: of labels, such as ``result="failed"``.
        ago: how long ago the window ended, in a larger unit than the window's (``1w``); empty for now.
    """
    count, created = select(counter, matchers), select(f"{counter.removesuffix('_total')}_created", matchers)
    at = f" offset {ago}" if ago else ""
    before = f"[{MEMORY}] offset {ago}{window}"
    return f"""\
{count}{at}
  - (
    last_over_time({count}{before}) <= {count}{at}
  unless
    {created}{at} != last_over_time({created}{before})
)
or
  {count}{at}"""


def volume(counter: str, window: str, matchers: str = "", ago: str = "") -> str:
    """Return what counts roughly how many events there were: to hold many against many, whoever restarted meanwhile.

    Args:
        counter: its name.
        window: such as ``1h``.
        matchers: of labels.
        ago: how long ago the window ended, such as ``1d``; empty for now.
    """
    return f"increase({select(counter, matchers)}[{window}]{f' offset {ago}' if ago else ''})"


def total(of: str, *by: str) -> str:
    """Return the sum by those labels."""
    return f"sum by ({', '.join(by)}) {wrap(of)}"


def wrap(of: str) -> str:
    """Return an expression in brackets, over lines if it has several."""
    return f"(\n{nest(of)}\n)" if "\n" in of else f"({of})"


def select(metric: str, matchers: str) -> str:
    """Return what selects a metric's series."""
    return f"{metric}{{{matchers}}}" if matchers else metric


def nest(text: str) -> str:
    """Return an expression as a part of another one."""
    return indent(text, "  ")
