# SPDX-License-Identifier: Apache-2.0
"""The shapes of a route's records, kept across its answers.

What an API sends cannot make this large or busy: a shape is made of a skeleton that was seen often enough, few are
kept, and where there are too many kinds of records, most are read by the book.
"""

from collections import Counter
from typing import Final

from proxy.redaction.shapes import Learner, Shape
from proxy.redaction.survey import Survey
from proxy.redaction.values import Node

MAX_SHAPES: Final = 16
SIGHTINGS: Final = 4
"""Of a skeleton before it becomes a shape: making one costs as much as reading a hundred records by the book."""
RARE: Final = 64
"""So much more often it must be seen where another shape has to go for it: of so many units one is looked at."""
MAX_CANDIDATES: Final = 64


class KeptShapes:
    """Shapes, those that are met often first.

    Args:
        learner: makes them.
    """

    __slots__ = ("_learner", "_passed", "_sightings", "shapes")

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self.shapes: list[Shape] = []
        self._sightings: Counter[bytes] = Counter()
        self._passed = 0
        """Units that were read by the book while as many shapes were kept as may be."""

    def meet(self, shape: Shape) -> None:
        """Take note that units had a shape: it goes one place further to the front."""
        at = self.shapes.index(shape)
        if at:
            self.shapes[at - 1 : at + 1] = [shape, self.shapes[at - 1]]

    def note(self, raw: bytes, node: Node, survey: Survey) -> None:
        """Take note of a unit that was read by the book."""
        is_full = len(self.shapes) >= MAX_SHAPES
        if is_full:
            self._passed += 1
            if self._passed % RARE:
                return
        skeleton = self._learner.find_skeleton(raw, node, survey)
        if skeleton is None:
            return
        if len(self._sightings) >= MAX_CANDIDATES and skeleton.body not in self._sightings:
            self._sightings.clear()
        self._sightings[skeleton.body] += 1
        if self._sightings[skeleton.body] >= SIGHTINGS:
            del self._sightings[skeleton.body]
            if is_full:
                self.shapes.pop()
            self.shapes.insert(0, Shape(skeleton))
