# SPDX-License-Identifier: Apache-2.0
"""Joins what is known of each segment into what is known of a ledger: nothing is missing between them, one tree.

A segment begins with the peaks of the tree before it, so each is checked by itself; here they are held together. What a
segment says of the lines before it is believed as far as a checkpoint stands for it.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from proxy.ledger.course import describe_silence, is_silence
from proxy.ledger.finding import Checked, End, Finding, Report
from proxy.ledger.links import clean, tell_count, tell_lines
from proxy.ledger.readings import tell_apart
from proxy.ledger.tree_head import TreeHead
from proxy.ledger.verify import DOUBTFUL, EDITED

Recheck = Callable[[Checked, tuple[bytes, ...]], Checked]
"""Checks a segment again, by other peaks of the tree before it."""
_UNTRUE: Final = frozenset({"edited", "missing"})
"""Kinds of findings whose lines do not lie there as they were."""

_NOWHERE: Final = ("", 0, -1)


class Head(msgspec.Struct, frozen=True):
    """A checkpoint that is kept elsewhere."""

    name: str
    """Of its file."""
    head: TreeHead | None
    origin: str
    """Which ledger it says to be of, whether or not that is to be believed."""
    problem: str = ""
    """Why it is not to be believed."""
    is_found: bool = False
    """Whether it was found in a folder, where those of other ledgers may lie as well."""
    is_own: bool = False
    """Whether it is the copy that lies in the ledger's own folder."""


class _Piece:
    """A segment in its place.

    Args:
        checked: what is known of it by itself.
        follows: whether it begins where the one before ends.
    """

    def __init__(self, checked: Checked, *, follows: bool) -> None:
        self.checked = checked
        self.follows = follows
        self.ends = checked.ends
        """Readings that may be true, the likeliest first."""
        self.is_continued = False
        """Whether the next segment stands on the very tree that this one ends with."""
        self.signed = checked.signed[-1].size if checked.signed else -1

    @property
    def more(self) -> int:
        """How many findings there are beyond those that are kept."""
        return self.checked.more + sum(end.more for end in self.ends[:1])

    @property
    def roots(self) -> dict[int, bytes]:
        """The roots that were asked for and are known."""
        return {**self.checked.roots, **(self.ends[0].roots if self.ends else {})}

    def settle(self, end: End) -> None:
        """Note that the next segment continues a reading."""
        self.ends, self.is_continued = (end,), True

    def believe_next(self) -> None:
        """Note that what the next segment says of the last line is proven."""
        last = self.ends[0].edited[-1:]
        if last and last[0][1] == self.checked.next - 1:
            self.ends = tuple(end for end in self.ends if end.edited[-1:] == last)


def join_segments(
    name: str,
    segments: Sequence[Checked],
    heads: Sequence[Head] = (),
    *,
    recheck: Recheck,
    findings: Sequence[Finding] = (),
    is_alone: bool = False,
) -> Report:
    """Say what is known of a whole ledger.

    Args:
        name: of its folder or file.
        segments: in the order of their lines.
        heads: checkpoints that are kept elsewhere.
        recheck: checks a segment again.
        findings: what is known already, of files that could not be read and the like.
        is_alone: whether what is given may begin in the middle of a ledger.
    """
    join = _Join(name, recheck)
    for segment in segments:
        join.add(segment)
    join.front(is_alone=is_alone)
    join.tail()
    return join.report(join.hold_all(heads), findings)


class _Join:
    def __init__(self, name: str, recheck: Recheck) -> None:
        self._name = name
        self._recheck = recheck
        self._pieces: list[_Piece] = []
        self._findings: list[Finding] = []
        self._stopped: bool | None = None
        self._silence: Finding | None = None
        """What to say if no start explains a silence."""

    def _find(self, kind: str, place: tuple[str, int, int], message: str, *, fault: bool = True) -> None:
        self._findings.append(Finding(kind, *place, message, fault))

    # Between segments.

    def add(self, segment: Checked) -> None:
        """Take the next segment."""
        before = self._pieces[-1] if self._pieces else None
        if before is None:
            piece = _Piece(segment, follows=False)
        elif segment.first < before.checked.next:
            self._find(
                "overlap",
                (segment.name, 0, segment.first),
                f"its lines from {segment.first} on stand in {before.checked.name} as well: one of the files is a copy",
            )
            return
        elif segment.first > before.checked.next:
            gone = tell_lines(before.checked.next, segment.first - 1)
            self._find("missing", (segment.name, 0, before.checked.next), f"{gone} missing before this file")
            piece = _Piece(segment, follows=False)
        else:
            piece = _Piece(self._link(before, segment), follows=True)
            self._pass(before.checked, segment)
        self._events(piece)
        self._pieces.append(piece)

    def _link(self, before: _Piece, segment: Checked) -> Checked:
        """Hold the tree that a segment stands on against the one before it; return what is known of it then."""
        ends = before.checked.ends
        for end in ends:
            if end.peaks == segment.peaks:
                before.settle(end)
                return segment
        if not ends:
            return segment
        if segment.signed:
            first = max(before.signed, before.checked.first)
            told = (
                f"between lines {first} and {segment.first - 1}, at the end of {before.checked.name}, something was "
                "changed, put in or left out: the signed tree that this segment continues is another"
            )
            self._find("rewritten", (segment.name, 1, segment.first), told)
            before.believe_next()
            return segment
        again = [(end, self._recheck(segment, end.peaks)) for end in ends]
        end, best = next((each for each in again if each[1].signed), again[0])
        before.settle(end)
        return best

    def _pass(self, before: Checked, segment: Checked) -> None:
        """Look at the time between two segments."""
        place = (segment.name, 1, segment.first)
        if not before.until or not segment.since:
            return
        if segment.since < before.until:
            self._find("clock", place, f"it begins at {segment.since}, before the line before it, {before.until}")
        elif not self._stopped and is_silence(before.until, segment.since) and self._silence is None:
            self._silence = Finding("gap", *place, describe_silence(before.until, segment.since))
        if before.origin and segment.origin and before.origin != segment.origin:
            told = f"the ledger is called {clean(segment.origin)} from here on, before it was {clean(before.origin)}"
            self._find("origin", place, told)

    def _events(self, piece: _Piece) -> None:
        """Look at who starts and stops."""
        segment = piece.checked
        if segment.opening == "on" and self._silence is not None:
            self._findings.append(self._silence)
        if segment.opening:
            self._silence = None
        if segment.silence is not None and not (self._stopped if segment.stopped is None else segment.stopped):
            line, n, told = segment.silence
            self._silence = Finding("gap", segment.name, line, n, told)
        if segment.start is not None and self._stopped is False:
            told = "a gateway starts, and the one before ended without `stop`"
            self._find("crash", (segment.name, *segment.start), told, fault=False)
        if segment.stopped is not None:
            self._stopped = segment.stopped

    # The two ends.

    def front(self, *, is_alone: bool) -> None:
        """Look at what stands before the first line that is there."""
        if not self._pieces or self._pieces[0].checked.first == 0:
            return
        segment, first = self._pieces[0].checked, self._pieces[0].checked.first
        told = [each for piece in self._pieces for each in piece.checked.retained]
        signed = {each.size for piece in self._pieces for each in piece.checked.signed}
        # At once, or not at all: behind a gateway that died anybody can put a line, and the next one signs it later.
        kept = max((kept for n, kept in told if n + 1 in signed), default=0)
        place = (segment.name, 0, kept)
        if kept >= first:
            self._find("retention", place, f"{tell_lines(0, first - 1)} removed, as a signed line says", fault=False)
        elif is_alone:
            self._find("begins", place, f"it begins with line {first}: those before are not looked at", fault=False)
        elif told and max(each[1] for each in told) >= first:
            self._find(
                "retention",
                place,
                f"{tell_lines(kept, first - 1)} missing, and no checkpoint follows the `retention` line that says so",
            )
        else:
            gone = tell_lines(kept, first - 1)
            self._find(
                "missing", place, f"{gone} missing: the ledger begins with {first}, and no `retention` line says so"
            )

    @property
    def _signed(self) -> int:
        return max((piece.signed for piece in self._pieces), default=-1)

    def tail(self) -> None:
        """Look at what stands behind the last checkpoint."""
        if not self._pieces:
            return
        last = self._pieces[-1].checked
        signed = self._signed
        if signed < 0:
            self._find(
                "unsigned", ("", 0, -1), "no checkpoint holds: nothing shows that these lines are as they were written"
            )
            return
        for piece in self._pieces:
            stop = piece.checked.unsigned_stop
            if stop is not None and stop[1] >= signed:
                told = "a gateway stopped here, and signs when it does: the checkpoint behind it was cut off"
                self._find("cut", (piece.checked.name, *stop), told)
        if last.next - signed > 1 or not self._ends_with_checkpoint(last):
            self._tell_uncovered(signed, last)

    def _tell_uncovered(self, signed: int, last: Checked) -> None:
        signed_at, until = max(piece.checked.signed_at for piece in self._pieces), last.until
        behind, count = tell_lines(signed, last.next - 1), tell_count(last.next - signed, "line")
        told = f"{behind} covered by no checkpoint yet ({count})"
        if not is_silence(signed_at, until):
            self._find("uncovered", _NOWHERE, told, fault=False)
            return
        told = f"{behind} covered by no checkpoint, from {signed_at} to {until} ({count})"
        self._find("unsigned", _NOWHERE, f"{told}: a gateway signs at least every hour")

    def _ends_with_checkpoint(self, last: Checked) -> bool:
        return bool(last.signed) and last.signed[-1].size == last.next - 1

    # Checkpoints that are kept elsewhere.

    def hold_all(self, heads: Sequence[Head]) -> int:
        """Hold checkpoints against the lines; return how many of those that are not the ledger's own copy are true."""
        origins = {piece.checked.origin for piece in self._pieces} - {""}
        found = [head for head in heads if head.is_found]
        foreign = [head for head in found if origins and head.origin not in origins]
        if foreign:
            told = f"{tell_count(len(foreign), 'file')} beside the checkpoints kept elsewhere: none of this ledger's"
            self._find("foreign", _NOWHERE, told, fault=len(foreign) == len(found))
        roots = {size: (root, piece) for piece in self._pieces for size, root in piece.roots.items()}
        return sum(
            self._hold(head, roots.get(head.head.size if head.head else -1), origins) and not head.is_own
            for head in heads
            if not (head.is_found and origins and head.origin not in origins)
        )

    def _hold(self, kept: Head, known: tuple[bytes, _Piece] | None, origins: set[str]) -> bool:
        """Hold a checkpoint against the root that is known at its size; return whether it is true."""
        name, head = clean(kept.name), kept.head
        if head is None:
            self._find("forged", _NOWHERE, f"the checkpoint {name} is not to be believed: {clean(kept.problem)}")
            return False
        first, end = (self._pieces[0].checked.first, self._pieces[-1].checked.next) if self._pieces else (0, 0)
        if origins and head.origin not in origins:
            told = f"the checkpoint {name} is of the ledger {clean(head.origin)}, and this is {clean(min(origins))}"
            self._find("origin", _NOWHERE, told)
        elif head.size > end:
            told = (
                f"the ledger was cut: the checkpoint {name} of size {head.size} was signed over more, "
                f"{tell_lines(end, head.size - 1)} missing at the end"
            )
            self._find("cut", _NOWHERE, told)
        elif head.size < first:
            told = f"the checkpoint {name} of size {head.size} ends before line {first}, the first that is there"
            self._find("unheld", _NOWHERE, told, fault=False)
        elif head.size == 0:
            return True
        elif known is not None and known[0] == head.root:
            known[1].signed = max(known[1].signed, head.size)
            return True
        elif known is not None:
            told = f"the ledger was rewritten: the checkpoint {name} of size {head.size} was signed over other lines"
            self._find("rewritten", _NOWHERE, told)
        else:
            told = (
                f"the checkpoint {name} of size {head.size} cannot be held against the lines, which are not all known"
            )
            self._find("unheld", _NOWHERE, told)
        return False

    # The sum.

    def _proven(self) -> list[tuple[int, int]]:
        """Return the lines that signatures stand for, without regard to findings of single ones."""
        ranges: list[tuple[int, int]] = []
        later = False
        """Whether the peaks that the next segment stands on are proven."""
        for index in range(len(self._pieces) - 1, -1, -1):
            piece, after = self._pieces[index], self._pieces[index + 1 : index + 2]
            segment, found = piece.checked, []
            if later and piece.is_continued:
                found.append((segment.first, segment.next))
            else:
                if later and after[0].follows and segment.leaf and segment.leaf == after[0].checked.prev:
                    found.append((segment.chained, segment.next))
                found.append((segment.first, piece.signed))
                later = piece.signed > segment.first
            if not piece.more:  # else it is not known which of its lines are as they were
                ranges += found
        return sorted(each for each in ranges if each[0] < each[1])

    def _all_findings(self, findings: Sequence[Finding]) -> list[Finding]:
        every = [*findings]
        for piece in self._pieces:
            every += piece.checked.findings
            if piece.ends:
                name = piece.checked.name
                sure, doubtful = tell_apart([end.edited for end in piece.ends])
                every += [Finding("edited", name, *place, EDITED) for place in sure]
                every += [Finding("edited", name, *place, DOUBTFUL) for place in doubtful]
        order = {piece.checked.name: index for index, piece in enumerate(self._pieces)}
        every += self._findings
        return sorted(every, key=lambda each: (order.get(each.segment, len(order)), each.line, each.n))

    def report(self, heads: int, findings: Sequence[Finding]) -> Report:
        """Put together what is known."""
        checked = [piece.checked for piece in self._pieces]
        every = self._all_findings(findings)
        counts: dict[str, int] = {}
        for segment in checked:
            for signed in segment.signed:
                counts[signed.key] = counts.get(signed.key, 0) + 1
        untrue = {each.n for each in every if each.kind in _UNTRUE and each.n >= 0}
        return Report(
            name=self._name,
            origins=tuple(dict.fromkeys(segment.origin for segment in checked if segment.origin)),
            segments=len(checked),
            lines=sum(segment.lines for segment in checked),
            size_bytes=sum(segment.size_bytes for segment in checked),
            first=checked[0].first if checked else 0,
            next=checked[-1].next if checked else 0,
            since=next((segment.since for segment in checked if segment.since), ""),
            until=next((segment.until for segment in reversed(checked) if segment.until), ""),
            checkpoints=counts,
            proven=_without(self._proven(), untrue),
            heads=heads,
            is_ended=bool(self._stopped) and self._ends_with_checkpoint(checked[-1]),
            faults=tuple(each for each in every if each.fault),
            remarks=tuple(each for each in every if not each.fault),
            more=sum(piece.more for piece in self._pieces),
        )


def _without(ranges: Sequence[tuple[int, int]], numbers: set[int]) -> tuple[tuple[int, int], ...]:
    """Return ranges (up to, not including the second) as joined ranges (with the second), numbers taken out."""
    found: list[tuple[int, int]] = []
    reached = -1
    for begin, end in ranges:
        at = max(begin, reached)
        for out in sorted(number for number in numbers if at <= number < end):
            if out > at:
                found.append((at, out - 1))
            at = out + 1
        if at < end:
            found.append((at, end - 1))
        reached = max(reached, end)
    merged: list[tuple[int, int]] = []
    for first, last in found:
        if merged and merged[-1][1] + 1 == first:
            merged[-1] = merged[-1][0], last
        else:
            merged.append((first, last))
    return tuple(merged)
