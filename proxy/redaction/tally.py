# SPDX-License-Identifier: Apache-2.0
"""What was found in the records of an answer, counted."""

from collections.abc import Sequence
from typing import cast

from proxy.model.facts import Fact, State
from proxy.model.filtering import Content, Verdict


class Tally:
    """Counts what was found since this was asked for last."""

    __slots__ = ("_verdicts", "dropped", "ids", "masked", "seen", "unfit")

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.seen = 0
        self.dropped = 0
        self.masked = 0
        self.unfit = 0
        self.ids: list[str] = []
        self._verdicts: dict[int, tuple[Verdict, int]] = {}

    def count(self, verdict: Verdict, records: int = 1) -> None:
        """Count records that were judged."""
        self.seen += records
        held = self._verdicts.get(id(verdict))
        self._verdicts[id(verdict)] = (verdict, records + (held[1] if held else 0))

    def add_ids(self, ids: Sequence[Fact[str]]) -> None:
        """Take note of subjects of records that leave; of those that are known."""
        if set(map(type, ids)) <= {str}:
            self.ids += cast("Sequence[str]", ids)
        else:
            self.ids += [id_ for id_ in ids if not isinstance(id_, State)]

    def take(self) -> Content:
        """Return what was counted, and begin anew."""
        content = Content(
            seen=self.seen,
            dropped=self.dropped,
            masked=self.masked,
            ids=tuple(self.ids),
            by_verdict=tuple(self._verdicts.values()),
            unfit=self.unfit,
        )
        self._begin()
        return content
