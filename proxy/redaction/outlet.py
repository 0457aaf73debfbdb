# SPDX-License-Identifier: Apache-2.0
"""What leaves: values in their order, each unit judged, with the commas that are right once it is known who stays.

- What comes behind a unit that nobody can judge yet waits in line; its subjects are asked for all the same.
- Outside of units nothing stands between two tokens. Within one, bytes stay as they are.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Final

from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN, Fact, State
from proxy.model.filtering import AnswerRefusedError, Verdict
from proxy.model.inspection import Inspection, Media, OnDenied
from proxy.redaction.places import unit_steps
from proxy.redaction.rendering import Batch, Renderer, Unit
from proxy.redaction.rulings import NOWHERE, Countries, Ruling, Rulings, countries_in, read_id
from proxy.redaction.shapes import Plan, Shape
from proxy.redaction.tally import Tally

MAX_COUNTRIES: Final = 4096
"""Ways to write a country, or several, that are remembered."""


class Outlet:
    """Takes what was read, in order, and gives what of it may leave.

    Args:
        inspection: what is declared.
        rulings: what becomes of records.
        renderer: what is left of them.
    """

    def __init__(self, inspection: Inspection, rulings: Rulings, renderer: Renderer) -> None:
        self._inspection = inspection
        self._rulings = rulings
        self._renderer = renderer
        is_single = inspection.media is Media.JSON and not unit_steps(inspection.records)
        self._refuses = is_single or inspection.on_denied is OnDenied.REFUSE
        self._waiting: deque[Callable[[], bool]] = deque()
        self._countries: dict[bytes, Countries] = {b"": NOWHERE}
        self._last: tuple[Shape, Plan] | None = None
        self._out: list[bytes] = []
        self._begun = 0
        """Where the document under way begins in what leaves."""
        self._has_left = False
        """Whether something of it has left already."""
        self._has_members: list[bool] = []
        """Of the containers that are open, outermost first: whether something stands in them."""
        self.tally = Tally()

    @property
    def is_waiting(self) -> bool:
        """Whether a unit is not judged yet."""
        return bool(self._waiting)

    def retry(self) -> None:
        """Go on from the first unit that was not judged yet."""
        waiting = self._waiting
        while waiting and waiting[0]():
            waiting.popleft()

    def take(self, *, whole_documents: bool = False) -> bytes:
        """Return what may leave, and forget it; of documents that have ended alone, if told so."""
        count = self._begun if whole_documents else len(self._out)
        self._has_left = self._has_left or count > self._begun
        data = b"".join(self._out[:count])
        del self._out[:count]
        self._begun = 0
        return data

    # What is read: containers and members outside of units.

    def open(self, name: bytes, bracket: bytes) -> None:
        """Open a container; its name is empty where it has none."""
        self._do(lambda: self._open(name, bracket))

    def close(self, bracket: bytes) -> None:
        """Close the innermost container."""
        self._do(lambda: self._close(bracket))

    def put(self, name: bytes, raw: bytes) -> None:
        """Let a declared value leave."""
        self._do(lambda: self._put(name, raw))

    def end_document(self, frame: Callable[[bytes], bytes]) -> None:
        """End a document; what is left of it, if anything, leaves in a frame."""
        self._do(lambda: self._end_document(frame))

    def fail(self, error: AnswerRefusedError) -> None:
        """Refuse the answer once all before it is judged."""
        if not self._waiting:
            raise error

        def refuse() -> bool:
            raise error

        self._waiting.append(refuse)

    def _do(self, act: Callable[[], None]) -> None:
        if self._waiting:
            self._waiting.append(lambda: _done(act))
        else:
            act()

    def _open(self, name: bytes, bracket: bytes) -> None:
        self._put(name, bracket)
        self._has_members.append(False)

    def _close(self, bracket: bytes) -> None:
        self._has_members.pop()
        self._out.append(bracket)

    def _put(self, name: bytes, raw: bytes) -> None:
        if self._has_members:
            if self._has_members[-1]:
                self._out.append(b",")
            self._has_members[-1] = True
        if name:
            self._out += (name, b":")
        self._out.append(raw)

    def _end_document(self, frame: Callable[[bytes], bytes]) -> None:
        document = b"".join(self._out[self._begun :])
        del self._out[self._begun :]
        if document or self._has_left:
            self._out.append(frame(document))
        self._begun = len(self._out)
        self._has_left = False

    # Units.

    def unit(self, unit: Unit) -> None:
        """Judge a unit, and let leave of it what may."""
        ruling = self._rulings.of(unit.countries, unit.id)  # asked in any case, so that the judge takes note
        if self._waiting or ruling is None:
            self._waiting.append(lambda: self._settle_later(unit))
        else:
            self._settle(unit, ruling)

    def batch(self, batch: Batch) -> None:
        """Judge units in a row, as one by one."""
        if not self._waiting and not self._rulings.tells_ids and self._settle_all(batch):
            return
        countries = batch.column(batch.plan.country) if batch.plan.country else [b""] * batch.count
        ids = batch.column(batch.plan.id) if batch.plan.id else [b"null"] * batch.count
        for raw, country, id_ in zip(batch.units, countries, ids, strict=True):
            self.recognised(batch.shape, raw, b"", country, read_id(id_))
            if batch.is_lines:
                self.end_document(end_line)

    def recognised(self, shape: Shape, raw: bytes, name: bytes, country: bytes, id_: Fact[str]) -> None:
        """Judge a unit of a shape.

        Args:
            shape: of the unit.
            raw: it.
            name: before it, as it stands there.
            country: where the country stands; empty where none does.
            id_: of the subject.
        """
        self.unit(Unit(raw, name, self._read_countries(country), id_, shape))

    def plan_for(self, shape: Shape) -> Plan:
        """Return by which plan to read units of a shape: as those before were treated."""
        last = self._last
        return last[1] if last is not None and last[0] is shape else shape.plain

    def _settle_all(self, batch: Batch) -> bool:
        """Judge units in a row at once; False, and nothing done, where something is other than usual."""
        count = batch.count
        countries = batch.column(batch.plan.country) if batch.plan.country else [b""] * count
        numbers = Counter(countries)
        rulings: dict[bytes, Ruling] = {}
        try:
            for raw in numbers:
                ruling = self._rulings.of(self._read_countries(raw), UNKNOWN)
                if ruling is None or (self._refuses and not ruling.verdict.is_allowed):
                    return False
                rulings[raw] = ruling
            ids = _read_ids(batch)
        except AnswerRefusedError:
            return False
        dropped = {raw for raw, ruling in rulings.items() if not ruling.verdict.is_allowed}
        changed = {raw for raw in rulings if raw not in dropped and (rulings[raw].key or not batch.shape.is_whole)}
        for raw, number in numbers.items():
            self.tally.count(rulings[raw].verdict, number)
            self.tally.dropped += number if raw in dropped else 0
        pieces: Sequence[bytes]
        if changed:
            pieces, stays = self._change_all(batch, countries, rulings)
        else:
            stays = [raw not in dropped for raw in countries] if dropped else []
            pieces = list(compress(batch.units, stays)) if dropped else batch.units
        leaving = compress(ids, stays) if stays else ids
        self.tally.ids += [each for each in leaving if not isinstance(each, State)] if batch.plan.id else []
        self._put_all(pieces, is_lines=batch.is_lines)
        return True

    def _change_all(
        self, batch: Batch, countries: Sequence[bytes], rulings: Mapping[bytes, Ruling]
    ) -> tuple[list[bytes], list[bool]]:
        """Return what leaves of units in a row, and of which of them something does."""
        shape, renderer, tally = batch.shape, self._renderer, self.tally
        pieces: list[bytes] = []
        stays: list[bool] = []
        for at, (raw, country) in enumerate(zip(batch.units, countries, strict=True)):
            ruling = rulings[country]
            made: bytes | None = None
            if ruling.verdict.is_allowed:
                plan = shape.find_plan(ruling.key)
                if plan is not None and plan is batch.plan:
                    made = renderer.compose(plan, batch.row(at))
                    tally.masked += plan.is_masking and made is not None
                elif plan is not None:
                    self._last = shape, plan
                if made is None and (rendered := renderer.render(Unit(raw, shape=shape), ruling)) is not None:
                    made = rendered[0]
                    tally.masked += rendered[1]
                if made is None:
                    self._drop_unfit(ruling.verdict)
            stays.append(made is not None)
            if made is not None:
                pieces.append(made)
        return pieces, stays

    def _put_all(self, pieces: Sequence[bytes], *, is_lines: bool) -> None:
        """Let units leave, each a value of the container that is open, or a document."""
        if is_lines:
            self._out.append(b"\n".join([*pieces, b""]))
            self._begun = len(self._out)
        elif pieces:
            self._put(b"", b",".join(pieces))

    def _settle_later(self, unit: Unit) -> bool:
        ruling = self._rulings.of(unit.countries, unit.id)
        if ruling is not None:
            self._settle(unit, ruling)
        return ruling is not None

    def _settle(self, unit: Unit, ruling: Ruling) -> None:
        verdict, tally = ruling.verdict, self.tally
        tally.count(verdict)
        if not verdict.is_allowed:
            if self._refuses:
                raise AnswerRefusedError(verdict.decision.reason, verdict)
            tally.dropped += 1
            return
        rendered = self._renderer.render(unit, ruling)
        if rendered is None:
            self._drop_unfit(verdict)
            return
        raw, is_masked = rendered
        tally.masked += is_masked
        if not isinstance(unit.id, State):
            tally.ids.append(unit.id)
        self._put(unit.name, raw)

    def _drop_unfit(self, verdict: Verdict) -> None:
        if self._refuses:
            raise AnswerRefusedError(Reason.TRANSFORMS_NOT_APPLIED, verdict)
        self.tally.dropped += 1
        self.tally.unfit += 1

    def _read_countries(self, raw: bytes) -> Countries:
        held = self._countries.get(raw)
        if held is None:
            held = countries_in(self._inspection, raw)
            if len(self._countries) < MAX_COUNTRIES:
                self._countries[raw] = held
        return held


def _done(act: Callable[[], None]) -> bool:
    act()
    return True


def end_line(document: bytes) -> bytes:
    """Return a document as a line."""
    return document + b"\n"


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
