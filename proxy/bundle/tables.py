# SPDX-License-Identifier: Apache-2.0
"""Tables: large registers as CSV files (RFC 4180), read column by column.

- UTF-8, with or without a byte order mark; cells between commas, quoted with ``"``; a header that names every column
  of the register once, in any order.
- A cell is a text and nothing else: no program's guess and no formula. What it may hold, its column says.
- Every distinct text of a column is looked at once. A fault is told with its file, line and column, all faults at once,
  up to a limit; the rest are counted.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from proxy.bundle.read import FileProblem
from proxy.model.problem import nearest
from proxy.model.table import MAX_KEY, Column

MAX_BYTES: Final = 256 * 1024 * 1024
"""Of one file."""
MAX_ROWS: Final = 3_000_000
"""Of one register."""
MAX_COLUMNS: Final = 100
MAX_TOLD: Final = 50
"""Problems of one register."""
CHUNK: Final = 8192
FILES: Final = 1024
"""A place is one number: the line times this, plus the number of the file."""

_NOWHERE: Final = -1
"""The position of a column that a table leaves out."""
_END_OF_LINE: Final = re.compile(r"\r\n|\r|\n")
_END_OF_BYTES: Final = re.compile(rb"\r\n|\r|\n")
_BOM: Final = "\ufeff"
_UNCLOSED: Final = (
    "a quoted cell that begins in this row does not end: close the quotation mark; nothing after it is read"
)
_INSIDE: Final = 'a quotation mark stands inside of a cell: quote the whole cell and write ""; nothing after it is read'


class _Codes(dict[str, int]):
    """Numbers the distinct texts of a column as they come, and looks at each once."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self.means: list[Any] = []
        self.wrong: set[int] = set()

    def __missing__(self, text: str) -> int:
        code = self[text] = len(self.means)
        value = self._column.parse(text) if text else self._column.empty
        if value is None:
            self.wrong.add(code)
        self.means.append(value)
        return code


class Sheet:
    """The rows of one register from any number of files, column by column.

    Args:
        columns: the columns.
        key: the column whose texts are kept as they are, since nearly every row has another one. Its ``parse`` takes
            every text that can be printed, is no longer than ``MAX_KEY``, and has no space; where it does not,
            ``strict``.
        strict: whether every text of the key column is looked at.
    """

    def __init__(self, columns: Sequence[Column], key: str, *, strict: bool = False) -> None:
        self._strict = strict
        self.columns = {column.name: column for column in columns}
        self.key = key
        self.keys: list[str] = []
        """The texts of the key column, row by row."""
        self.codes: dict[str, list[int]] = {name: [] for name in self.columns if name != key}
        """By column, the number of each row's text."""
        self.places: list[int] = []
        self.files: list[str] = []
        self.problems: list[FileProblem] = []
        self.is_whole = True
        """Whether every row was read: what is wrong with some is told, and they are left out."""
        self._untold = 0
        self._last: FileProblem | None = None
        self._known = {name: _Codes(column) for name, column in self.columns.items() if name != key}
        self._data: list[bytes] = []
        self._line_starts: dict[int, list[int]] = {}

    def texts(self, name: str) -> list[str]:
        """Return the distinct texts of a column, by their numbers."""
        return list(self._known[name])

    def means(self, name: str) -> list[Any]:
        """Return what the distinct texts of a column mean, by their numbers; None: nothing, and that is told."""
        return self._known[name].means

    def wrong_rows(self) -> set[int]:
        """Return the numbers of the rows in which a cell means nothing; the key is not looked at."""
        return {
            row
            for name, known in self._known.items()
            if known.wrong
            for row, code in enumerate(self.codes[name])
            if code in known.wrong
        }

    def rows(self) -> list[tuple[Any, ...]]:
        """Return every row: the text of the key, the numbers of the other texts, the place."""
        return list(zip(self.keys, *self.codes.values(), self.places, strict=True))

    def locate(self, place: int) -> str:
        """Return where a row stands, ``file:line``."""
        line, file = divmod(place, FILES)
        return f"{self.files[file]}:{line}"

    def fail(self, place: int, message: str, column: str | None = None) -> None:
        """Tell what is wrong with a row, or with one of its cells."""
        line, file = divmod(place, FILES)
        self._tell(file, line, None if column is None else self._position(file, column), message)

    def add_rows(self, name: str, rows: Iterable[tuple[int, Sequence[str]]]) -> None:
        """Add rows that stand in another file: line, and cells in the order of the columns.

        What is wrong with a cell of theirs has been told by whoever read that file.
        """
        file = self._begin(name, b"")
        for line, cells in rows:
            self._take([cells], [line], list(range(len(self.columns))), file)

    def add_csv(self, data: bytes, name: str) -> None:
        """Read the content of one file."""
        file = self._begin(name, data)
        text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
        reader = csv.reader(text, strict=True)
        before = len(self.keys)
        try:
            header = next(reader, None)
        except (csv.Error, UnicodeDecodeError) as error:
            self._stop(file, 1, error)
            return
        order = self._read_header(header, file)
        if order is None:
            return
        line = reader.line_num + 1
        is_over = False
        while not is_over and len(self.keys) <= MAX_ROWS:
            rows: list[list[str]] = []
            fault: csv.Error | UnicodeDecodeError | None = None
            try:
                rows.extend(islice(reader, CHUNK))  # what was read before a fault stays
            except (csv.Error, UnicodeDecodeError) as error:
                fault = error
            is_over = fault is not None or len(rows) < CHUNK
            line = self._take_chunk(rows, line, reader.line_num, order, file)
            if fault is not None:
                self._stop(file, line, fault)
        if len(self.keys) > MAX_ROWS:
            self._tell(file, line, None, f"more than {MAX_ROWS:,} rows in this register")
            self.is_whole = False
        elif len(self.keys) == before and self.is_whole:
            self._tell(file, 1, None, "the table holds a header and no row: an export that failed looks so")

    def finish(self) -> list[FileProblem]:
        """Look at every cell whose text means nothing, and return all problems."""
        self._tell_wrong()
        self._data.clear()
        self._line_starts.clear()
        if self._untold and self._last is not None:
            last = self._last
            more = f"{self._untold:,} more problems in this register: they are told once these are mended"
            self.problems.append(FileProblem(last.file, last.line, last.column, more))
            self._untold = 0
        return self.problems

    # Reading

    def _begin(self, name: str, data: bytes) -> int:
        self.files.append(name)
        self._data.append(data)
        return len(self.files) - 1

    def _read_header(self, header: list[str] | None, file: int) -> list[int] | None:
        """Return where each column stands."""
        if header is None or header == []:
            names = ",".join(self.columns)
            self._tell(file, 1, None, f"the file begins with no header: write {names} in its first line")
            self.is_whole = False
            return None
        if len(header) > MAX_COLUMNS:
            self._tell(file, 1, None, f"the header names {len(header):,} columns, more than {MAX_COLUMNS}")
            self.is_whole = False
            return None
        before = len(self.problems)
        for index, name in enumerate(header):
            if name not in self.columns:
                self._tell(file, 1, index, self._explain_header(name))
            elif header.index(name) != index:
                self._tell(file, 1, index, f"the column {name!r} stands twice")
        if set(header) <= self.columns.keys():  # a name that is none may be the one that is missing
            for name in self.columns:
                if name not in header and not self.columns[name].optional:
                    self._tell(file, 1, None, _explain_missing(name))
        if len(self.problems) > before or self._untold:
            self.is_whole = False
            return None
        return [header.index(name) if name in header else _NOWHERE for name in self.columns]

    def _explain_header(self, name: str) -> str:
        if ";" in name or "\t" in name:
            return "cells stand between commas: export the table with commas"
        stripped = name.strip().lower()
        if stripped in self.columns:
            return f"write the column {stripped!r} so, in lower case and without spaces"
        return f"no column {name[:40]!r}{nearest(name[:40], self.columns)}"

    def _take_chunk(self, rows: list[list[str]], line: int, read: int, order: list[int], file: int) -> int:
        """Take some rows; return the line after them."""
        lines: Sequence[int] = range(line, line + len(rows))
        end = line + len(rows)
        width = len(order) - order.count(_NOWHERE)
        if read + 1 != end or set(map(len, rows)) - {width}:
            starts = [line]
            for row in rows:
                starts.append(starts[-1] + 1 + sum(map(_count_lines, row)))
            end = starts.pop()
            sound = [
                (row, start)
                for row, start in zip(rows, starts, strict=True)
                if self._is_whole_row(row, start, width, file)
            ]
            rows, lines = [row for row, _ in sound], [start for _, start in sound]
        if rows:
            self._take(rows, lines, order, file)
        return end

    def _is_whole_row(self, row: list[str], line: int, width: int, file: int) -> bool:
        if len(row) == width:
            return True
        if row:  # an empty line says nothing
            self._tell(file, line, None, f"{len(row)} cells stand here, and {width} in the header")
        return False

    def _take(self, rows: Sequence[Sequence[str]], lines: Sequence[int], order: list[int], file: int) -> None:
        cells = list(zip(*rows, strict=True))
        for (name, column), position in zip(self.columns.items(), order, strict=True):
            if name == self.key:
                if self._strict or not _is_plain(cells[position]):
                    self._check_keys(column, cells[position], lines, position, file)
                self.keys.extend(cells[position])
            elif position == _NOWHERE:
                self.codes[name].extend([self._known[name][""]] * len(rows))
            else:
                self.codes[name].extend(map(self._known[name].__getitem__, cells[position]))
        if isinstance(lines, range):
            lines = range(lines.start * FILES + file, lines.stop * FILES + file, FILES)
            self.places.extend(lines)
        else:
            self.places.extend(line * FILES + file for line in lines)

    def _check_keys(self, column: Column, cells: Sequence[str], lines: Sequence[int], position: int, file: int) -> None:
        for cell, line in zip(cells, lines, strict=True):
            if (not cell or column.parse(cell) is None) and self._data[file]:
                self._tell(file, line, position, partial(_explain, column, cell))

    # Telling

    def _tell_wrong(self) -> None:
        for name, known in self._known.items():
            if not known.wrong:
                continue
            texts = list(known)
            column = self.columns[name]
            for row, code in enumerate(self.codes[name]):
                line, file = divmod(self.places[row], FILES)
                if code in known.wrong and self._data[file]:
                    self._tell(file, line, self._position(file, name), partial(_explain, column, texts[code]))

    def _position(self, file: int, name: str) -> int | None:
        """Return where a column stands in one file."""
        text = io.TextIOWrapper(io.BytesIO(self._data[file]), "utf-8-sig", newline="")
        header = next(csv.reader(text), [])
        return header.index(name) if name in header else None

    def _stop(self, file: int, line: int, error: csv.Error | UnicodeDecodeError) -> None:
        """Tell why the rest of a file cannot be read."""
        self.is_whole = False
        if isinstance(error, UnicodeDecodeError):
            self._tell_encoding(file)
        elif "unexpected end" in str(error) or "field limit" in str(error):
            self._tell(file, line, None, _UNCLOSED)
        else:
            self._tell(file, line, None, _INSIDE)

    def _tell_encoding(self, file: int) -> None:
        data = self._data[file]
        message = "the file is not UTF-8 here: export it as UTF-8"
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            message = "the file is UTF-16: export it as UTF-8"
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            before = data[: error.start].decode("utf-8", "replace")
            lines = _END_OF_LINE.split(before)
            self._tell(file, len(lines), None, message, at=len(lines[-1]) + 1)

    def _tell(self, file: int, line: int, cell: int | None, message: str | Callable[[], str], *, at: int = 1) -> None:
        if len(self.problems) >= MAX_TOLD:
            self._untold += 1
            return
        place = at if cell is None else self._find_cell(file, line, cell)
        self._last = FileProblem(self.files[file], line, place, message if isinstance(message, str) else message())
        self.problems.append(self._last)

    def _find_cell(self, file: int, line: int, cell: int) -> int:
        """Return the column, from 1, at which a cell of the row that begins in a line stands."""
        data = self._data[file]
        starts = self._line_starts.get(file)
        if starts is None:
            starts = self._line_starts[file] = [0, *(match.end() for match in _END_OF_BYTES.finditer(data))]
        end = starts[line] if line < len(starts) else len(data)
        text = data[starts[line - 1] : end].decode("utf-8", "replace").removeprefix(_BOM)
        is_quoted = False
        left = cell
        for index, character in enumerate(text, 1):
            if left == 0:
                return index
            if character == '"':
                is_quoted = not is_quoted
            elif character == "," and not is_quoted:
                left -= 1
        return len(text) + 1 if left == 0 else 1


def _explain_missing(name: str) -> str:
    return f"the column {name!r} is missing: name it in the header, and leave its cells empty where nothing is known"


def _explain(column: Column, text: str) -> str:
    why = column.explain(text) if text else "the cell is empty"
    return f"{column.name}: {why}"


def _is_plain(cells: Sequence[str]) -> bool:
    """Say whether all texts are as nearly all of them are: nothing that cannot be seen, no space, not long."""
    joined = "".join(cells)
    return joined.isprintable() and " " not in joined and "" not in cells and max(map(len, cells)) <= MAX_KEY


def _count_lines(cell: str) -> int:
    return len(_END_OF_LINE.findall(cell)) if "\n" in cell or "\r" in cell else 0
