# SPDX-License-Identifier: Apache-2.0
"""A chart of bars as SVG: the CPU of each gateway per request as a multiple of HAProxy's, one group a workload."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from bench.races import HAPROXY, SEKISHO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.races import Race

WIDTH: Final = 860
LEFT: Final = 210
"""Where bars begin; names stand left of it."""
RIGHT: Final = 60
"""What stays free for the figure behind the longest bar."""
BAR: Final = 14
GAP: Final = 4
GROUP_GAP: Final = 22
TOP: Final = 58
MOST: Final = 6.0
"""The multiple at which a bar is cut, so that one slow gateway does not flatten all others; its figure says it."""

COLOURS: Final = {"nginx plain": "#9aa5b1", HAPROXY: "#4c6a92", "Envoy": "#b0793a", SEKISHO: "#b3261e"}
OTHER: Final = "#6b6f76"


def render_chart(races: Sequence[Race]) -> str:
    """Return the file."""
    longest = max((ratio for race in races for _, ratio in ratios_of(race)), default=1.0)
    scale = (WIDTH - LEFT - RIGHT) / min(longest, MOST)
    body: list[str] = []
    top = TOP
    for race in races:
        body.append(text(LEFT, top + 10, race.workload.title, "group"))
        top += GROUP_GAP
        for name, ratio in ratios_of(race):
            body.extend(bar(name, ratio, top, scale))
            top += BAR + GAP
        top += GAP
    line = LEFT + scale
    marked = f'<line x1="{line:.1f}" x2="{line:.1f}" y1="{TOP - 6}" y2="{top}" class="one"/>'
    return "\n".join([*frame(top + 12), marked, *body, "</svg>\n"])


def ratios_of(race: Race) -> list[tuple[str, float]]:
    """Return each gateway's multiple of HAProxy's CPU."""
    return [(name, race.comparison.ratio(name, HAPROXY).median) for name in race.comparison.costs]


def frame(height: float) -> Iterator[str]:
    """Yield how the file begins."""
    title = "CPU per request as a multiple of HAProxy's: shorter is better"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{title}" font-family="system-ui, sans-serif" font-size="12">'
    )
    yield (
        "<style>.head{font-size:16px;font-weight:600}.group{font-weight:600}.name{text-anchor:end}"
        ".one{stroke:#4c6a92;stroke-dasharray:3 3}text{fill:#1f2328}</style>"
    )
    yield f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>'
    yield text(20, 28, title, "head")


def bar(name: str, ratio: float, top: float, scale: float) -> Iterator[str]:
    """Yield one bar with its name and its figure."""
    width = min(ratio, MOST) * scale
    yield text(LEFT - 8, top + BAR - 3, name, "name")
    yield f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{COLOURS.get(name, OTHER)}"/>'
    yield text(LEFT + width + 6, top + BAR - 3, f"{ratio:.2f}", "figure")


def text(left: float, top: float, said: str, kind: str) -> str:
    """Return one piece of text."""
    return f'<text x="{left:.1f}" y="{top:.1f}" class="{kind}">{escape(said)}</text>'
