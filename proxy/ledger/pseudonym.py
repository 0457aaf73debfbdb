# SPDX-License-Identifier: Apache-2.0
"""Keyed pseudonyms: who a record speaks of, for whoever holds the key of its period, and for nobody else.

A **key ring** is a text file, one key a line, each 64 hexadecimal digits::

    subjects <key>     under which grants name data subjects; it stays
    2026-11 <key>      under which the records of a period, a calendar month in UTC, name people
    2026-12 <key>
    # comments and blank lines

Within a period the same person has the same name in every record, and another one in the next. Who erases the key of
a period makes its records unlinkable, and changes none of them: what was proven of them stays proven.

BLAKE2b in keyed mode (RFC 7693), 128 bits, with a personalisation for each kind of name, so that a caller and a
data subject of the same identifier do not share one.
"""

import hashlib
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from proxy.clock import parse_instant, render_date

KEY_BYTES: Final = 32
CURSOR_KEY_BYTES: Final = 64
"""Of AES-256-SIV (RFC 5297 2.2: two keys)."""
SUBJECTS: Final = "subjects"
"""The word before the key under which grants name data subjects."""
MONTHS: Final = 24
"""For how many months a ring is made, unless told."""
MAX_MONTHS: Final = 600
_DIGEST_BYTES: Final = 16
_PERIOD: Final = re.compile(r"2[0-9]{3}-(?:0[1-9]|1[0-2])")
_KEY: Final = re.compile(rf"[0-9a-fA-F]{{{KEY_BYTES * 2}}}")
_HEADER: Final = """\
# Keys under which people are recorded. Whoever has this file can tell whom a pseudonym means: keep it off the
# ledger's disk. `sekisho keygen FILE --extend` adds months to come, `sekisho ledger forget FILE YYYY-MM` erases one.
"""


class KeyRingError(ValueError):
    """A text is no key ring, or one that cannot be used so; the message is a clause with the mend, without any key."""


class SubjectNames:
    """Names data subjects by a key.

    Args:
        key: 32 secret bytes.
    """

    __slots__ = ("_subjects",)

    def __init__(self, key: bytes) -> None:
        self._subjects = _keyed(key, b"subject")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key=***)"

    def of_subject(self, api: str, subject_id: str) -> str:
        """Return the name of a data subject of an API, ``api:hash``."""
        state = self._subjects.copy()
        state.update(f"{api}|{subject_id}".encode("utf-8", "surrogatepass"))
        return f"{api}:{state.hexdigest()}"

    def of_subjects(self, api: str, subject_ids: Iterable[str]) -> list[str]:
        """Return the names of data subjects of an API, in their order: half the work of naming each."""
        begun = self._subjects.copy()
        begun.update(f"{api}|".encode("utf-8", "surrogatepass"))
        copy, names = begun.copy, []
        for text in [subject_id.encode("utf-8", "surrogatepass") for subject_id in subject_ids]:
            state = copy()
            state.update(text)
            names.append(f"{api}:{state.hexdigest()}")
        return names


class Pseudonyms(SubjectNames):
    """Names callers and data subjects by the key of one period.

    Args:
        key: 32 secret bytes.
    """

    __slots__ = ("_callers",)

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self._callers = _keyed(key, b"caller")

    def of_caller(self, principal: str) -> str:
        """Return the name of a caller, ``issuer|subject``."""
        state = self._callers.copy()
        state.update(principal.encode("utf-8", "surrogatepass"))
        return state.hexdigest()


class CountNames:
    """Names callers and data subjects to whoever counts, by the key that stays: a window does not end with a month.

    Args:
        key: 32 secret bytes.
    """

    __slots__ = ("_counted",)

    def __init__(self, key: bytes) -> None:
        self._counted = _keyed(key, b"counted")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key=***)"

    def of(self, api: str, name: str) -> bytes:
        """Return the name at an API of somebody who is called so."""
        state = self._counted.copy()
        state.update(f"{api}|{name}".encode("utf-8", "surrogatepass"))
        return state.digest()


class FieldNames:
    """Names what stands in fields, to whoever may see only that two of them are the same.

    It uses the key that stays, so that a name does not change with the month; for another audience it is another.

    Args:
        key: 32 secret bytes.
    """

    __slots__ = ("_fields",)

    def __init__(self, key: bytes) -> None:
        self._fields = _keyed(key, b"field")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key=***)"

    def of(self, audience: str, category: str, text: str) -> str:
        """Return the name of a text.

        Args:
            audience: to whom it is shown.
            category: of the data; the same text in another is called otherwise.
            text: what stands in the field.
        """
        state = self._fields.copy()
        for part in (audience, category, text):
            data = part.encode("utf-8", "surrogatepass")
            state.update(len(data).to_bytes(8, "big") + data)
        return state.hexdigest()


class KeyRing:
    """The keys of all periods, and the one that stays.

    Args:
        subjects: the key under which grants name data subjects.
        keys: period (``YYYY-MM``) to its key; at least one.
    """

    def __init__(self, subjects: bytes, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise KeyRingError("it holds no key of a month: `sekisho keygen FILE` makes a ring that does")
        self._subjects_key = subjects
        self._keys = dict(sorted(keys.items()))
        self.subjects = SubjectNames(subjects)
        """Names data subjects as grants do."""
        self.counts = CountNames(subjects)
        self.fields = FieldNames(subjects)
        """Names what is pseudonymised in answers."""
        self.cursors = hashlib.blake2b(digest_size=CURSOR_KEY_BYTES, key=subjects, person=b"cursors").digest()
        """The key under which cursors are sealed."""
        self.names: Mapping[str, Pseudonyms] = {period: Pseudonyms(key) for period, key in self._keys.items()}
        """Names people as records do, by period."""
        self._periods = tuple(self._keys)
        self._begins = [-math.inf, *map(begin_of, self._periods[1:])]
        self._in_order = tuple(self.names.values())

    def __repr__(self) -> str:
        return f"KeyRing(subjects=***, periods={self._periods})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyRing):
            return NotImplemented
        return (self._subjects_key, self._keys) == (other._subjects_key, other._keys)

    def __hash__(self) -> int:
        return hash((self._subjects_key, self._periods))

    @property
    def periods(self) -> tuple[str, ...]:
        """The periods that have a key, earliest first."""
        return self._periods

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """Read a key ring.

        Raises:
            KeyRingError: it is none; names the line and the mend, never a key.
        """
        found: dict[str, tuple[int, bytes]] = {}
        for number, name, digits in _read_lines(text):
            if name in found:
                raise KeyRingError(
                    f"line {number}: {_of(name)} stands in line {found[name][0]} already: keep the one that was in use"
                )
            key = bytes.fromhex(digits)
            for other, (line, held) in found.items():
                if held == key:
                    raise KeyRingError(
                        f"line {number}: {_of(name)} is that of line {line} ({other}) again, and erasing one of them "
                        "would erase nothing: delete it, and have `sekisho keygen FILE --extend` add what is missing"
                    )
            found[name] = (number, key)
        if SUBJECTS not in found:
            raise KeyRingError(
                f"it has no line `{SUBJECTS} KEY`, under which grants name data subjects: take it from a copy, or make "
                "a new ring with `sekisho keygen FILE`"
            )
        keys = {name: key for name, (_, key) in found.items()}
        return cls(keys.pop(SUBJECTS), keys)

    @classmethod
    def generate(cls, first: str, months: int, draw: Callable[[int], bytes]) -> "KeyRing":
        """Make a ring.

        Args:
            first: the first period.
            months: how many of them.
            draw: returns as many secret bytes as it is told, such as ``secrets.token_bytes``.
        """
        return cls(draw(KEY_BYTES), {period: draw(KEY_BYTES) for period in _months(first, months)})

    def extend(self, first: str, months: int, draw: Callable[[int], bytes]) -> "KeyRing":
        """Return the ring with keys for those of the months that have none; no key is changed."""
        missing = [period for period in _months(first, months) if period not in self._keys]
        return KeyRing(self._subjects_key, {**self._keys, **{period: draw(KEY_BYTES) for period in missing}})

    def without(self, period: str) -> "KeyRing":
        """Return the ring without a period's key; KeyError if there is none."""
        keys = dict(self._keys)
        del keys[period]
        return KeyRing(self._subjects_key, keys)

    def at(self, now: float) -> Pseudonyms:
        """Return who names people at a moment, seconds since 1970.

        A period without a key of its own has that of the latest before it that has one: an old key is a matter of
        privacy, refusing everything would be an outage. Before the first period it is the first.
        """
        return self._in_order[bisect_right(self._begins, now) - 1]

    def period_at(self, now: float) -> str:
        """Return the period whose key names people at a moment."""
        return self._periods[bisect_right(self._begins, now) - 1]

    def check_begun(self, now: float) -> None:
        """Refuse a ring of which no period has begun at a moment: KeyRingError."""
        if now < begin_of(self._periods[0]):
            raise KeyRingError(
                f"its first month is {self._periods[0]}, and it is {period_of(now)}: set the clock right, or add this "
                "month with `sekisho keygen FILE --extend`"
            )

    def until(self, now: float) -> float:
        """Return the first instant from the month of ``now`` on that has no key of its own, seconds since 1970."""
        period = period_of(now)
        while period in self._keys:
            period = following(period)
        return begin_of(period)

    def months_of(self, period: str) -> tuple[str, ...]:
        """Return the months up to the next period with a key: those whose records a period's key may name people in."""
        later = [each for each in self._periods if each > period]
        months = [period]
        while later and following(months[-1]) < later[0]:
            months.append(following(months[-1]))
        return tuple(months)

    def render(self) -> str:
        """Return the ring as a text that ``parse`` reads."""
        return self.rewrite(_HEADER)

    def rewrite(self, text: str) -> str:
        """Return the text of another ring as one of this ring: its comments stay, as do the lines of keys held here."""
        held = {SUBJECTS: self._subjects_key, **self._keys}
        kept, seen = [], set()
        for line in text.rstrip().split("\n"):
            name = line.split(maxsplit=1)[0] if _is_key_line(line) else ""
            if not name or name in held:
                kept.append(line)
                seen.add(name)
        kept += [f"{name} {key.hex()}" for name, key in held.items() if name not in seen]
        return "".join(f"{line}\n" for line in kept)


def period_of(now: float) -> str:
    """Return the period of a wall-clock reading: its calendar month in UTC, ``YYYY-MM``."""
    return render_date(now)[:7]


def parse_period(text: str) -> str:
    """Return a period; KeyRingError if that is none."""
    if not _PERIOD.fullmatch(text):
        raise KeyRingError(f"{text!r} is no month such as 2026-11")
    return text


def begin_of(period: str) -> float:
    """Return when a period begins, seconds since 1970."""
    return parse_instant(f"{period}-01T00:00:00+00:00")


def following(period: str) -> str:
    """Return the period after one."""
    year, month = int(period[:4]), int(period[5:])
    return f"{year + month // 12:04d}-{month % 12 + 1:02d}"


def _months(first: str, count: int) -> Iterator[str]:
    if not 1 <= count <= MAX_MONTHS:
        raise KeyRingError(f"{count} months are not between 1 and {MAX_MONTHS}")
    period = first
    for _ in range(count):
        yield parse_period(period)
        period = following(period)


def _keyed(key: bytes, person: bytes) -> "hashlib.blake2b":
    if len(key) != KEY_BYTES:
        raise ValueError(f"a pseudonym key has {KEY_BYTES} bytes, not {len(key)}")
    return hashlib.blake2b(digest_size=_DIGEST_BYTES, key=key, person=person)


def _is_key_line(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _of(name: str) -> str:
    return f"the key `{name}`" if name == SUBJECTS else f"the key of {name}"


def _read_lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield number, name and digits of each line that holds a key."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not _is_key_line(line):
            continue
        name, *rest = line.split()
        if _KEY.fullmatch(name) and not rest:
            raise KeyRingError(
                f"line {number}: it is one bare key, as earlier releases had it: make a ring with `sekisho keygen` in "
                f"another file, and put this key into its line `{SUBJECTS}`, so that grants stay valid"
            )
        if name != SUBJECTS and not _PERIOD.fullmatch(name):
            # Whatever stands there may be a key, so it is not shown.
            raise KeyRingError(
                f"line {number}: it begins neither with `{SUBJECTS}` nor with a month such as `2026-11`: write "
                "`subjects KEY` or `YYYY-MM KEY`, or # before a comment"
            )
        if len(rest) != 1:
            told = "nothing" if not rest else f"{len(rest)} words"
            raise KeyRingError(f"line {number}: {told} after `{name}`, where one key stands: take the line from a copy")
        if not _KEY.fullmatch(rest[0]):
            raise KeyRingError(
                f"line {number}: {_of(name)} is not {KEY_BYTES * 2} hexadecimal digits, but {len(rest[0])} "
                "characters: take the line from a copy"
            )
        yield number, name, rest[0]
