# SPDX-License-Identifier: Apache-2.0
"""Draws answers as tables: what the API answers, and beside it what the caller gets."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from proxy.demo.views import Answer, Record, View, Viewed, count_countries
from proxy.model.country import NAMES

LONGEST_MEMBER: Final = 36
"""Characters shown of what stands beside the records."""
RECORD_WIDTH: Final = 70
"""Columns of the screen that the members of a record share, at most."""
_MISSING: Final = Text("-", style="dim")


def draw_view(viewed: Viewed) -> RenderableType:
    """Draw one view: who asked for what, both answers, and what the ledger says of them."""
    scene = viewed.view.scene
    name, affiliate = (scene.person.name, scene.person.affiliate) if scene.person else ("nobody", "nobody")
    head = Text.assemble((scene.title, "bold"), f": {name} of {affiliate}, {scene.request}")
    pair = Table.grid(padding=(0, 4))
    pair.add_row(*(Text(f" {title}", style="italic") for title in ("what the API answers", f"what {name} gets")))
    pair.add_row(*(_draw_answer(viewed.view, answer, viewed.before) for answer in (viewed.before, viewed.after)))
    return Group(head, pair, _tell(viewed), Text())


def _draw_answer(view: View, answer: Answer, before: Answer) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    if view.members:
        for member in view.members:
            table.add_column(member, no_wrap=True, overflow="ellipsis", max_width=RECORD_WIDTH // len(view.members))
        for record in answer.records:
            table.add_row(*_draw_cells(record, view.members, before.records))
    else:
        table.add_column("country")
        table.add_column("records", justify="right")
        for country, count in count_countries(answer).items():
            table.add_row(NAMES[country], f"{count:,}")
    return Group(table, *_draw_others(answer))


def _draw_cells(record: Record, members: Sequence[str], before: Sequence[Record]) -> Iterator[Text]:
    """Draw one record; what the API did not answer is marked as made by the gateway."""
    for member in members:
        if member not in record:
            yield _MISSING
            continue
        value = record[member]
        is_the_apis = any(value == each.get(member) for each in before)
        yield Text(str(value), style="" if is_the_apis else "yellow")


def _draw_others(answer: Answer) -> Iterator[Text]:
    for name, value in answer.others.items():
        yield Text(f"{name}: {_shorten(value)}", style="dim")


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_MEMBER else f"{text[: LONGEST_MEMBER - 1]}…"


def _tell(viewed: Viewed) -> Text:
    text = Text.assemble(
        (f"{viewed.played.status} ", "bold green" if viewed.played.status < 400 else "bold red"),
        (viewed.played.by, "bold"),
        (f"  the ledger says: {_tell_content(viewed.content)}", "dim"),
    )
    if not viewed.as_expected:
        scene = viewed.view.scene
        leaked = f", leaked {', '.join(viewed.leaks)}" if viewed.leaks else ""
        expected = f"\nNOT AS EXPECTED: {scene.status} {scene.by}, {viewed.view.left} records{leaked}"
        text.append(expected, "bold yellow")
    return text


def _tell_content(content: Mapping[str, Any]) -> str:
    """Say what was found in the records, whose were kept back, and by which rules anything was done to them."""
    if not content:
        return "that nothing had to be looked into"
    counts = [f"{content[word]:,} {word}" for word in ("seen", "dropped", "masked") if word in content]
    kept = [f"{count:,} of {country}" for country, count in content.get("kept_back", {}).items()]
    parts = (", ".join(counts), *([f"kept back {', '.join(kept)}"] if kept else []), *content.get("rules", ()))
    return "; ".join(parts)
