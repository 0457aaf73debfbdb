# SPDX-License-Identifier: Apache-2.0
"""Units in a row, judged and rendered by columns: what comes of it is the same as one by one."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Final, NamedTuple

from proxy.model.facts import UNKNOWN, Fact
from proxy.model.filtering import AnswerRefusedError
from proxy.redaction.rendering import Batch, Renderer
from proxy.redaction.rulings import Ruling, Rulings, read_id
from proxy.redaction.shapes import Plan
from proxy.redaction.tally import Tally

TIGHT: Final = (b",", b"\n")
"""What stands between two units in what leaves; where it does so before, they may leave as one."""


class _Judged(NamedTuple):
    keys: Sequence[bytes | int]
    """Of each unit, under which its ruling is found."""
    rulings: Mapping[bytes | int, Ruling]
    ids: Sequence[Fact[str]]
    """Empty where none are told."""


class Rows:
    """Settles units in a row.

    Args:
        rulings: what becomes of records.
        renderer: what is left of them.
    """

    __slots__ = ("_renderer", "_rulings")

    def __init__(self, rulings: Rulings, renderer: Renderer) -> None:
        self._rulings = rulings
        self._renderer = renderer

    def settle(self, batch: Batch, tally: Tally, *, refuses: bool) -> Sequence[bytes] | None:
        """Return what leaves of units in a row; None, and nothing is counted, where they have to be taken one by one.

        Args:
            batch: the units.
            tally: counts them.
            refuses: whether the answer is refused where one of them may not leave.
        """
        try:
            judged = self._judge(batch)
        except AnswerRefusedError:
            return None  # one of them is at fault, after those before it
        if judged is None:
            return None
        first = next(iter(judged.rulings.values()))
        if all(ruling is first for ruling in judged.rulings.values()) and self._is_whole(batch, first):
            tally.count(first.verdict, batch.count)
            tally.add_ids(judged.ids)
            return [batch.text] if batch.separator in TIGHT else batch.units
        numbers = Counter(judged.keys)
        denied = {key for key in numbers if not judged.rulings[key].verdict.is_allowed}
        if denied and refuses:
            return None
        left, stays, masked = self._render(batch, judged, denied)
        dropped = batch.count - len(left)
        unfit = dropped - sum(numbers[key] for key in denied)
        if unfit and refuses:
            return None
        for key, number in numbers.items():
            tally.count(judged.rulings[key].verdict, number)
        tally.dropped += dropped
        tally.unfit += unfit
        tally.masked += masked
        tally.add_ids(list(compress(judged.ids, stays)))
        return left

    def _is_whole(self, batch: Batch, ruling: Ruling) -> bool:
        """Say whether units in a row leave as they are under a ruling."""
        return ruling.verdict.is_allowed and self._renderer.find_plan(batch.shape, ruling) is batch.shape.plain

    def _judge(self, batch: Batch) -> _Judged | None:
        """Return what becomes of the units; None where the judge has to ask somebody first.

        Raises:
            AnswerRefusedError: one of them is not what is declared.
        """
        ids = _read_ids(batch)
        countries = batch.column(batch.plan.country) if batch.plan.country else [b""] * batch.count
        of, read = self._rulings.of, self._rulings.read_countries
        rulings: dict[bytes | int, Ruling] = {}
        if not self._rulings.tells_ids:
            for raw in set(countries):
                ruling = of(read(raw), UNKNOWN)
                if ruling is None:
                    return None
                rulings[raw] = ruling
            return _Judged(countries, rulings, ids)
        keys: list[bytes | int] = []
        for raw, id_ in zip(countries, ids or [UNKNOWN] * batch.count, strict=True):
            ruling = of(read(raw), id_)
            if ruling is None:
                return None
            keys.append(id(ruling))
            rulings[id(ruling)] = ruling
        return _Judged(keys, rulings, ids)

    def _render(self, batch: Batch, judged: _Judged, denied: set[bytes | int]) -> tuple[list[bytes], list[bool], int]:
        """Return what leaves of the units, of which of them something does, and how many are masked."""
        shape, renderer = batch.shape, self._renderer
        plans = {key: renderer.find_plan(shape, judged.rulings[key]) for key in judged.rulings if key not in denied}
        if all(plan is shape.plain for plan in plans.values()):
            stays = [key not in denied for key in judged.keys]
            return list(compress(batch.units, stays)), stays, 0
        left, masked = self._change(batch, judged, plans)
        return [raw for raw in left if raw is not None], [raw is not None for raw in left], masked

    def _change(
        self, batch: Batch, judged: _Judged, plans: Mapping[bytes | int, Plan | None]
    ) -> tuple[list[bytes | None], int]:
        """Return what leaves of each unit, None where nothing does, and how many are masked.

        Args:
            batch: the units.
            judged: what becomes of them.
            plans: by key, of those that are allowed.
        """
        keys, renderer = judged.keys, self._renderer
        sources: dict[bytes | int, Iterator[bytes | None]] = {}
        masked = 0
        for plan in {id(plan): plan for plan in plans.values()}.values():
            takers = {key for key, taken in plans.items() if taken is plan}
            made = renderer.compose(batch, plan, [key in takers for key in keys])
            masked += len(made) - made.count(None) if plan is not None and plan.is_masking else 0
            sources |= dict.fromkeys(takers, iter(made))
        left = [next(sources[key]) if key in plans else None for key in keys]
        if left.count(None) > sum(1 for key in keys if key not in plans):
            for at, (key, raw) in enumerate(zip(keys, batch.units, strict=True)):
                if left[at] is None and key in plans:
                    rendered = renderer.render_by_book(raw, None, judged.rulings[key])
                    if rendered is not None:
                        left[at] = rendered[0]
                        masked += rendered[1]
        return left, masked


def _read_ids(batch: Batch) -> Sequence[Fact[str]]:
    """Return the ids of units in a row.

    Raises:
        AnswerRefusedError: something else stands in the place of one.
    """
    if not batch.plan.id:
        return ()
    column = batch.column(batch.plan.id)
    joined = b"\n".join(column)
    if b"\\" not in joined and joined.count(b'"') == 2 * batch.count:  # all are strings, and no quote is within one
        return joined[1:-1].decode().split('"\n"')
    return [read_id(raw) for raw in column]
