# SPDX-License-Identifier: Apache-2.0
"""What leaves: values in their order, each unit judged, with the commas that are right once it is known who stays.

- What comes behind a unit that nobody can judge yet waits in line; its subjects are asked for all the same.
- Outside of units nothing stands between two tokens. Within one, bytes stay as they are.
"""

from collections import deque
from collections.abc import Callable, Sequence

from proxy.model.decision import Reason
from proxy.model.facts import Fact, State
from proxy.model.filtering import AnswerRefusedError, Verdict
from proxy.model.inspection import Inspection, Media, OnDenied
from proxy.redaction.places import unit_steps
from proxy.redaction.rendering import Batch, Renderer, Unit
from proxy.redaction.rows import Rows
from proxy.redaction.rulings import Ruling, Rulings, read_id
from proxy.redaction.shapes import Plan, Shape
from proxy.redaction.tally import Tally


class Outlet:
    """Takes what was read, in order, and gives what of it may leave.

    Args:
        inspection: what is declared.
        rulings: what becomes of records.
        renderer: what is left of them.
    """

    def __init__(self, inspection: Inspection, rulings: Rulings, renderer: Renderer) -> None:
        self._rulings = rulings
        self._renderer = renderer
        self._rows = Rows(rulings, renderer)
        is_single = inspection.media is Media.JSON and not unit_steps(inspection.records)
        self._refuses = is_single or inspection.on_denied is OnDenied.REFUSE
        self._waiting: deque[Callable[[], bool]] = deque()
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
        left = None if self._waiting else self._rows.settle(batch, self.tally, refuses=self._refuses)
        if left is not None:
            self._put_all(left, is_lines=batch.is_lines)
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
        self.unit(Unit(raw, name, self._rulings.read_countries(country), id_, shape))

    def _put_all(self, units: Sequence[bytes], *, is_lines: bool) -> None:
        """Let units leave, each a value of the container that is open, or a document."""
        if is_lines:
            self._out.append(b"\n".join([*units, b""]))
            self._begun = len(self._out)
        elif units:
            self._put(b"", b",".join(units))

    def plan_of(self, shape: Shape) -> Plan:
        """Return by which plan to read units of a shape in a row."""
        return self._renderer.plan_of(shape)

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


def _done(act: Callable[[], None]) -> bool:
    act()
    return True


def end_line(document: bytes) -> bytes:
    """Return a document as a line."""
    return document + b"\n"
