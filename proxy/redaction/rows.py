# SPDX-License-Identifier: Apache-2.0
"""Units in a row, judged and rendered by columns: what comes of it is the same as one by one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from proxy.model.facts import UNKNOWN, Fact
from proxy.model.filtering import AnswerRefusedError
from proxy.redaction.rendering import Batch, Renderer, Unit
from proxy.redaction.rulings import Ruling, Rulings, read_id
from proxy.redaction.tally import Tally


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
        numbers = Counter(judged.keys)
        denied = {key for key in numbers if not judged.rulings[key].verdict.is_allowed}
        if denied and refuses:
            return None
        left, masked = self._render(batch, judged, numbers, denied)
        dropped = left.count(None)
        unfit = dropped - sum(numbers[key] for key in denied)
        if unfit and refuses:
            return None
        for key, number in numbers.items():
            tally.count(judged.rulings[key].verdict, number)
        tally.dropped += dropped
        tally.unfit += unfit
        tally.masked += masked
        if not dropped:
            tally.add_ids(judged.ids)
            return left  # type: ignore[return-value]  # none of them is None
        tally.add_ids([id_ for id_, raw in zip(judged.ids, left, strict=False) if raw is not None])
        return [raw for raw in left if raw is not None]

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
            for raw in dict.fromkeys(countries):
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

    def _render(
        self, batch: Batch, judged: _Judged, numbers: Mapping[bytes | int, int], denied: set[bytes | int]
    ) -> tuple[Sequence[bytes | None], int]:
        """Return what leaves of each unit, None where nothing does, and how many are masked."""
        keys, shape = judged.keys, batch.shape
        plans = {
            key: self._renderer.find_plan(shape, judged.rulings[key])
            for key in sorted(numbers, key=numbers.__getitem__)  # the most frequent last: by its plan others are read
            if key not in denied
        }
        if all(plan is shape.plain for plan in plans.values()):
            if not denied:
                return batch.units, 0
            return [None if key in denied else raw for key, raw in zip(keys, batch.units, strict=True)], 0
        by_plan = {key for key, plan in plans.items() if plan is batch.plan}
        composed = iter(self._renderer.compose(batch, [key in by_plan for key in keys]) if by_plan else ())
        left: list[bytes | None] = []
        masked = 0
        for key, raw in zip(keys, batch.units, strict=True):
            made = next(composed) if key in by_plan else None
            if made is not None:
                masked += batch.plan.is_masking
            elif key not in denied:
                rendered = self._renderer.render(Unit(raw, shape=shape), judged.rulings[key])
                if rendered is not None:
                    made = rendered[0]
                    masked += rendered[1]
            left.append(made)
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
