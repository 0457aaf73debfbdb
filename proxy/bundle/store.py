# SPDX-License-Identifier: Apache-2.0
"""Large registers in one read-only file that all processes share: an SQLite database. This module does I/O.

- A file is named by what it was made of. It is written under another name and renamed once it is whole and on the
  disk, so a file of that name is whole; it never changes, and starting again takes the one that is there.
- It lies in a folder that this user alone can enter. Whoever may write there may decide who everybody is.
- Whoever has a file open holds a lock on it (flock), which tells that it is in use. Those that nobody uses are removed
  when another one is made.
- It is read, not mapped into memory: a file that is cut short beneath a mapping ends the process; here it is an error,
  and an error is a deny. The kernel keeps one copy of its pages for all processes, and no process counts them.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import sqlite3
import stat
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec

from proxy.bundle.tables import FILES
from proxy.clock import unix_seconds
from proxy.disk import sync_folder
from proxy.errors import StoreError, UsageError

SCHEMA_VERSION: Final = 1
"""Of what is in a file: one of another version is not read."""
_APPLICATION: Final = 0x5345_4B49
SUFFIX: Final = ".sekisho"
_UNFINISHED: Final = ".building-"
KEPT_SECONDS: Final = 600
"""How long a file stays that nobody has open: who made it may be about to hand it over."""
CACHE_KIBIBYTES: Final = 2048
"""Pages that one process keeps for itself."""
MAX_WORDS: Final = 8192
"""Texts of cells that one process keeps."""
MAX_KEPT: Final = 1024
"""Values of a mapping that one process keeps."""
BLOCK: Final = 16
"""Rows that are kept, and read, together."""
_PAGE_BYTES: Final = 4096

T = TypeVar("T")


def default_folder() -> Path:
    """Return the folder that is used where none is set."""
    return Path(tempfile.gettempdir()) / f"sekisho-{os.geteuid()}"


def _open_folder(wanted: Path | None) -> Path:
    """Return the folder, made if it was not there.

    Raises:
        UsageError: it is not this user's alone, or cannot be made.
    """
    mend = "name a folder of the gateway's own with SEKISHO_REGISTERS_FOLDER"
    folder = default_folder() if wanted is None else wanted
    try:
        if not folder.is_symlink():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise UsageError(
            f"The folder {folder} for large registers cannot be made: {error.strerror}: {mend}."
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{folder} is no folder for large registers: {mend}.")
    if status.st_uid != os.geteuid():
        raise UsageError(f"The folder {folder} for large registers is another user's: {mend}.")
    if status.st_mode & 0o077:
        raise UsageError(f"The folder {folder} for large registers is open to others: chmod 700 {folder}, or {mend}.")
    return folder


def digest_inputs(inputs: Mapping[str, Any]) -> str:
    """Return what a file is named by: SHA-256 over everything that it is made of."""
    content = json.dumps([SCHEMA_VERSION, inputs], sort_keys=True)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


# Writing


def _of(register: str, statement: str) -> str:
    """Return a statement about the tables of one register, whose name is ours."""
    return statement.replace("REGISTER", register)


class Writer:
    """Puts registers into a new file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._counts: dict[str, int] = {}

    def add_rows(
        self,
        name: str,
        rows: Sequence[tuple[Any, ...]],
        words: Mapping[str, Sequence[str]],
        files: Sequence[str],
    ) -> None:
        """Add the rows of a table, which are in the order of their key.

        Neighbours are kept together in blocks: one insertion each for half a million rows takes longer than all else.

        Args:
            name: the register.
            rows: the text of the key, the numbers of the words of each column, the number of the place.
            words: by column, the texts that the numbers stand for.
            files: the names of the files that places speak of.
        """
        self.add_blocks(name, rows)
        self._connection.execute(
            _of(
                name,
                "CREATE TABLE REGISTER_words (c INTEGER, code INTEGER, text TEXT, PRIMARY KEY (c, code)) WITHOUT ROWID",
            )
        )
        numbered = [
            (c, code, text) for c, texts in enumerate((*words.values(), files), 1) for code, text in enumerate(texts)
        ]
        self._connection.executemany(_of(name, "INSERT INTO REGISTER_words VALUES (?, ?, ?)"), numbered)

    def add_blocks(self, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows, which are in the order of their first cell."""
        execute, executemany = self._connection.execute, self._connection.executemany
        execute(
            _of(name, "CREATE TABLE REGISTER_blocks (id INTEGER PRIMARY KEY, first TEXT NOT NULL, rows BLOB NOT NULL)")
        )
        executemany(_of(name, "INSERT INTO REGISTER_blocks (first, rows) VALUES (?, ?)"), _make_blocks(rows))
        execute(_of(name, "CREATE UNIQUE INDEX REGISTER_first ON REGISTER_blocks (first)"))
        self._counts[f"{name}_rows"] = len(rows)

    def add_mapping(self, name: str, items: Iterable[tuple[str, object]]) -> None:
        """Add a mapping of texts to values that msgspec can encode."""
        self._connection.execute(
            _of(name, "CREATE TABLE REGISTER_items (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
        )
        encode = msgspec.msgpack.Encoder().encode
        done = self._connection.executemany(
            _of(name, "INSERT INTO REGISTER_items VALUES (?, ?)"), ((key, encode(value)) for key, value in items)
        )
        self._counts[f"{name}_items"] = max(0, done.rowcount)

    def finish(self, digest: str) -> None:
        """Say in the file what it is."""
        self._connection.execute("CREATE TABLE head (digest TEXT NOT NULL, counts TEXT NOT NULL)")
        self._connection.execute("INSERT INTO head VALUES (?, ?)", (digest, json.dumps(self._counts, sort_keys=True)))
        self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _make_blocks(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, bytes]]:
    """Yield the rows in blocks, each with its first key. Rows with the same key are never parted."""
    encode = msgspec.msgpack.Encoder().encode
    begin = 0
    while begin < len(rows):
        end = begin + BLOCK
        while end < len(rows) and rows[end][0] == rows[end - 1][0]:
            end += 1
        yield rows[begin][0], encode(rows[begin:end])
        begin = end


def find_store(folder: Path | None, inputs: Mapping[str, Any]) -> "Store | None":
    """Return the file that was made of these inputs, if it is there and whole.

    Args:
        folder: where files lie; None: the default folder.
        inputs: everything that the content depends on, as JSON.

    Raises:
        UsageError: the folder cannot be used.
    """
    digest = digest_inputs(inputs)
    path = _open_folder(folder) / f"{digest}{SUFFIX}"
    with contextlib.suppress(StoreError):
        store = open_store(path, digest)
        with contextlib.suppress(OSError):
            os.utime(path)
        return store
    return None


def make_store(folder: Path | None, inputs: Mapping[str, Any], fill: Callable[[Writer], None]) -> "Store":
    """Make the file of these inputs, and remove what nobody uses.

    Args:
        folder: where files lie; None: the default folder.
        inputs: everything that the content depends on, as JSON.
        fill: writes the registers.

    Raises:
        UsageError: the folder cannot be used, or the file cannot be written.
    """
    place = _open_folder(folder)
    digest = digest_inputs(inputs)
    path = place / f"{digest}{SUFFIX}"
    try:
        _build(path, digest, fill)
        _remove_unused(place, path)
    except (OSError, sqlite3.Error) as error:
        raise UsageError(f"Large registers cannot be written to {place}: {error}.") from error
    return open_store(path, digest)


def _build(path: Path, digest: str, fill: Callable[[Writer], None]) -> None:
    """Write a file under another name, and give it its own once it is whole and on the disk."""
    descriptor, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=path.parent)
    unfinished = Path(name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            for pragma in (
                f"page_size = {_PAGE_BYTES}", "journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE",
                "cache_size = -65536", "temp_store = MEMORY",
            ):  # fmt: skip
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN")
            writer = Writer(connection)
            fill(writer)
            writer.finish(digest)
            connection.execute("COMMIT")
        os.fsync(descriptor)
        os.fchmod(descriptor, 0o400)
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # once it has its name, others open it
        unfinished.replace(path)
        sync_folder(path.parent)
    finally:
        os.close(descriptor)
        unfinished.unlink(missing_ok=True)


def _remove_unused(folder: Path, kept: Path) -> None:
    """Remove files that nobody has open and nobody has made or used of late, and what ended builders left behind."""
    for entry in list(folder.iterdir()):
        is_ours = entry.suffix == SUFFIX or entry.name.startswith(_UNFINISHED)
        with contextlib.suppress(OSError):
            if is_ours and entry != kept and unix_seconds() - entry.stat().st_mtime > KEPT_SECONDS:
                with _open_locked(entry, fcntl.LOCK_EX):
                    entry.unlink()


@contextlib.contextmanager
def _open_locked(path: Path, kind: int) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


# Reading


class Store:
    """One file, open for reading. It travels between processes as its path.

    Args:
        path: the file.
        digest: what it was made of.

    Raises:
        StoreError: it cannot be used.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self.path = path
        self.digest = digest
        held = contextlib.ExitStack()
        try:
            descriptor = held.enter_context(_open_locked(path, fcntl.LOCK_SH))
            _check_file(os.fstat(descriptor))
            self._connection = held.enter_context(contextlib.closing(_connect(path)))
            self.counts = self._read_head(os.fstat(descriptor).st_size)
        except (OSError, sqlite3.Error, ValueError) as error:
            held.close()
            raise StoreError(
                f"The registers in {path} cannot be used: {error}. Loading the folder makes them again."
            ) from error
        weakref.finalize(self, held.close)

    def __reduce__(self) -> tuple[Any, ...]:
        return open_store, (self.path, self.digest)

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of an answer."""
        return self._connection.execute(statement, parameters).fetchall()

    def _read_head(self, size: int) -> Mapping[str, int]:
        kind, version, pages, page_bytes = (
            self.query(f"PRAGMA {name}")[0][0] for name in ("application_id", "user_version", "page_count", "page_size")
        )
        if kind != _APPLICATION or version != SCHEMA_VERSION:
            raise ValueError("it is none of this version's")
        if pages * page_bytes != size:
            raise ValueError("it is not whole")
        ((digest, counts),) = self.query("SELECT digest, counts FROM head")
        if digest != self.digest:
            raise ValueError("it was made of something else")
        return msgspec.json.decode(counts, type=dict[str, int])


_OPEN: Final[weakref.WeakValueDictionary[tuple[Path, str], Store]] = weakref.WeakValueDictionary()


def open_store(path: Path, digest: str) -> Store:
    """Return the file, opened once in each process while somebody uses it.

    Raises:
        StoreError: it cannot be used.
    """
    store = _OPEN.get((path, digest))
    if store is None:
        store = _OPEN[path, digest] = Store(path, digest)
    return store


def _check_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no file")
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ValueError("others can write it")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False
    )
    for pragma in ("query_only = ON", "mmap_size = 0", f"cache_size = -{CACHE_KIBIBYTES}", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


class StoredRows:
    """The rows of one table (``proxy.model.table.Rows``).

    Args:
        store: the file.
        name: the register.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._decode = msgspec.msgpack.Decoder(list[tuple[str | int, ...]]).decode
        self._words: dict[tuple[int, int], str] = {}
        self._select_word = _of(name, "SELECT text FROM REGISTER_words WHERE c = ? AND code = ?")
        self._select = _of(name, "SELECT rows FROM REGISTER_blocks WHERE first <= ? ORDER BY first DESC LIMIT 1")
        self._qualifiers = {
            text: code for code, text in store.query(_of(name, "SELECT code, text FROM REGISTER_words WHERE c = 1"))
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredRows, (self._store, self._name)

    def __len__(self) -> int:
        return self._store.counts[f"{self._name}_rows"]

    def find(self, key: str, qualifier: str) -> list[tuple[str, ...]]:
        """Return the other cells of every row with this key and this text in the first column, and their place."""
        code = self._qualifiers.get(qualifier)
        if code is None or not key.isprintable():  # no row has another one
            return []
        found = self._store.query(self._select, (key,))
        return [
            self._read(row) for row in (self._decode(found[0][0]) if found else ()) if row[0] == key and row[1] == code
        ]

    def _read(self, row: tuple[Any, ...]) -> tuple[str, ...]:
        *codes, place = row[2:]
        line, file = divmod(place, FILES)
        words = [self._word(column, code) for column, code in enumerate(codes, 2)]
        return (*words, f"{self._word(len(codes) + 2, file)}:{line}")

    def _word(self, column: int, code: int) -> str:
        word = self._words.get((column, code))
        if word is None:
            ((word,),) = self._store.query(self._select_word, (column, code))
            if not isinstance(word, str):
                raise StoreError(f"The registers in {self._store.path} are broken: remove the file.")
            if len(self._words) >= MAX_WORDS:
                self._words.clear()
            self._words[column, code] = word
        return word


class StoredTable(Mapping[str, tuple[Any, ...]]):
    """Rows of different keys, each by its key: its other cells.

    Args:
        store: the file.
        name: the register.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._decode = msgspec.msgpack.Decoder(list[tuple[Any, ...]]).decode
        self._select = _of(name, "SELECT rows FROM REGISTER_blocks WHERE first <= ? ORDER BY first DESC LIMIT 1")

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredTable, (self._store, self._name)

    def __getitem__(self, key: str) -> tuple[Any, ...]:
        found = self._store.query(self._select, (key,)) if key.isprintable() else ()
        for row in self._decode(found[0][0]) if found else ():
            if row[0] == key:
                return row[1:]
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        for (rows,) in self._store.query(_of(self._name, "SELECT rows FROM REGISTER_blocks ORDER BY first")):
            for row in self._decode(rows):
                yield row[0]

    def __len__(self) -> int:
        return self._store.counts[f"{self._name}_rows"]


class StoredMapping(Mapping[str, T], Generic[T]):
    """A mapping whose values are decoded when they are asked for.

    Args:
        store: the file.
        name: the mapping.
        kind: the type of its values.
    """

    def __init__(self, store: Store, name: str, kind: type[T]) -> None:
        self._store = store
        self._name = name
        self._kind = kind
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._kept: dict[str, T] = {}
        self._select = _of(name, "SELECT value FROM REGISTER_items WHERE key = ?")

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredMapping, (self._store, self._name, self._kind)

    def __getitem__(self, key: str) -> T:
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        try:
            found = self._store.query(self._select, (key,))
        except UnicodeEncodeError:  # half of a surrogate pair: no key has one
            found = []
        if not found:
            raise KeyError(key)
        value = self._decode(found[0][0])
        if len(self._kept) >= MAX_KEPT:
            for oldest in list(self._kept)[: max(1, MAX_KEPT // 8)]:
                del self._kept[oldest]
        self._kept[key] = value
        return value

    def __iter__(self) -> Iterator[str]:
        for (key,) in self._store.query(_of(self._name, "SELECT key FROM REGISTER_items ORDER BY key")):
            yield key

    def __len__(self) -> int:
        return self._store.counts[f"{self._name}_items"]
