# SPDX-License-Identifier: Apache-2.0
"""Reads the files of a policy folder and sorts what they hold into registers. This module does I/O.

It knows the manifest and the shape of registers, not what they mean: ``check`` does.
"""

import hashlib
import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from pathlib import PurePosixPath
from typing import Any, Final, TypeVar

import msgspec

from proxy.bundle.listing import list_visible
from proxy.bundle.manifest import (
    EMERGENCY_FOLDER,
    LATER_REGISTERS,
    MANIFEST,
    NOT_YET_REGISTERS,
    ONLY_TABLES,
    PACK_MANIFEST,
    PACK_REGISTERS,
    REGISTERS,
    TABLE,
    TABLES,
    Manifest,
    PackManifest,
)
from proxy.bundle.read import MAX_FILE_BYTES, MAX_PROBLEMS, Document, FileProblem, parse_document, read_bytes
from proxy.bundle.schema import salvage, validate
from proxy.bundle.tables import MAX_BYTES
from proxy.model.entry import Entry
from proxy.model.problem import Path, Problem, nearest
from proxy.model.source import Source

MAX_FILES: Final = 1000
_LISTED: Final = frozenset({".yaml", ".yml", TABLE})
"""What a manifest lists; other files (keys, certificates) are named where they are used."""
_INIT: Final = "`sekisho init DIR` writes a small bundle that loads"

E = TypeVar("E", bound=Entry)


class Item(msgspec.Struct, frozen=True):
    """One entry of a register, and where it stands."""

    document: Document
    path: Path
    value: Any
    namespace: str = ""
    """Of the pack that it is from."""

    def qualify(self, id_: str) -> str:
        """Return an id that is written in this entry under its full name."""
        return f"{self.namespace}.{id_}" if self.namespace else id_

    @property
    def place(self) -> str:
        """Where it stands, ``file:line``."""
        line, _ = self.document.locate(self.path, at_key=False)
        return f"{self.document.name}:{line}"


class Table(msgspec.Struct, frozen=True):
    """The content of a table."""

    name: str
    data: bytes
    digest: str


class Loaded(msgspec.Struct, frozen=True):
    """A sound register: entries, and for each where it stands."""

    entries: tuple[Any, ...]
    items: tuple[Item, ...]


class Anything(frozenset[str]):
    """Stands for the ids of a register that was not read whole: one mistake is not told as many."""

    def __contains__(self, _value: object) -> bool:
        return True


class Registers:
    """A policy folder, read: the manifest, and every entry of every register with its place.

    Args:
        folder: the folder that holds the manifest.
    """

    def __init__(self, folder: FilePath) -> None:
        self.folder = folder
        self.manifest_document: Document | None = None
        self.problems: list[FileProblem] = []
        self.incomplete: set[str] = set()
        """Registers of which a part could not be read: what is not there may stand in that part."""
        self._told: dict[str, int] = {}
        self._listing: list[str] | None = None
        self.raw: dict[str, list[Item]] = {register: [] for register in REGISTERS}
        self._in_tables: dict[str, frozenset[str]] = {}
        self.tables: dict[str, list[Table]] = {register: [] for register in TABLES}
        self._sources: dict[str, Source] = {}

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every file of the folder that was read, in the order of their paths."""
        return tuple(sorted(self._sources.values(), key=lambda source: source.path))

    def _note(self, file: str, data: bytes) -> str:
        """Note that a file was read, and return SHA-256 of what was in it."""
        path = posixpath.normpath(file)
        self._sources[path] = Source(path, hashlib.sha256(data).hexdigest(), len(data))
        return self._sources[path].sha256

    def _read_document(self, file: str) -> tuple[Document | None, list[FileProblem]]:
        data = read_bytes(self.folder / file, self.name(file), MAX_FILE_BYTES)
        if isinstance(data, FileProblem):
            return None, [data]
        self._note(file, data)
        return parse_document(data, self.name(file))

    def gather(self) -> Manifest | None:
        """Read the manifest, all files and all packs; None if there is no manifest to go by."""
        manifest = self._read_manifest()
        if manifest is not None:
            self._read_files("", "", manifest.files, REGISTERS)
            for namespace, folder in manifest.include.items():
                self._read_pack(namespace, folder)
        return manifest

    def name(self, file: str) -> str:
        """Return what a file is called in problems."""
        return str(self.folder / file)

    def fail(self, document: Document, problem: Problem) -> None:
        """Note a problem at its place."""
        told = self._told[document.name] = self._told.get(document.name, 0) + 1
        if told > MAX_PROBLEMS + 1:
            return
        line, column = document.locate(problem.path, at_key=problem.at_key)
        if told <= MAX_PROBLEMS:
            self.problems.append(FileProblem(document.name, line, column, problem.message))
        else:
            message = f"more than {MAX_PROBLEMS} problems in this file: the rest is told once these are mended"
            self.problems.append(FileProblem(document.name, line, column, message))

    def _read_manifest(self) -> Manifest | None:
        why_none = _why_no_manifest(self.folder)
        if why_none:
            self.problems = [FileProblem(self.name(MANIFEST), 1, 1, why_none)]
            return None
        document, problems = self._read_document(MANIFEST)
        if document is None:
            self.problems += problems
            return None
        self.manifest_document = document
        manifest: Manifest | list[Problem] | None = validate(Manifest, document.value)
        if isinstance(manifest, list):
            for problem in manifest:
                self.fail(document, problem)
            manifest = salvage(Manifest, document.value)
        if manifest is None:
            return None
        for problem in self._check_manifest(manifest):
            self.fail(document, problem)
        return manifest

    def _check_manifest(self, manifest: Manifest) -> list[Problem]:
        problems = self._check_listed("", manifest.files, REGISTERS)
        document = self.manifest_document
        is_written = document is not None and "observe_until" in document.value
        if (manifest.mode == "observe") != (manifest.observe_until is not None or is_written):
            key = "mode" if manifest.observe_until is None else "observe_until"
            message = "`mode: observe` and `observe_until` go together: observing ends at a stated date"
            problems.append(Problem((key,), message))
        for namespace, folder in manifest.include.items():
            if namespace.partition(".")[0] == "emergency":
                problems.append(Problem(("include", namespace), "this namespace is of emergency denies", at_key=True))
            if not self._is_pack(folder):
                message = f"there is no pack in {folder}: a folder inside this one that holds {PACK_MANIFEST}"
                problems.append(Problem(("include", namespace), message))
        if len(self._find_files()) > MAX_FILES:
            problems.append(Problem(("files",), f"the folder holds more than {MAX_FILES} files", at_key=True))
        packs = tuple(f"{folder.rstrip('/')}/" for folder in manifest.include.values())
        apart = (*packs, f"{EMERGENCY_FOLDER}/")
        return problems + self._find_unlisted("", {MANIFEST, *manifest.files}, apart)

    def _is_pack(self, folder: str) -> bool:
        place = PurePosixPath(folder)
        if str(place) != folder.rstrip("/") or any(part.startswith(".") for part in place.parts):
            return False
        try:
            path = self.folder / folder
            return self._is_inside(folder) and (path / PACK_MANIFEST).is_file()
        except OSError:
            return False

    def _check_listed(self, prefix: str, files: Mapping[str, Sequence[str]], known: Sequence[str]) -> list[Problem]:
        problems = []
        for file, registers in files.items():
            problems += self._check_file(prefix, file)
            problems += [
                Problem(("files", file, index), _unknown_register(register, known))
                for index, register in enumerate(registers)
                if register not in known
            ]
            if file.lower().endswith(TABLE) and (len(registers) != 1 or registers[0] not in TABLES):
                message = f"a table holds the rows of one register: {', '.join(TABLES)}"
                problems.append(Problem(("files", file), message))
            problems += [
                Problem(("files", file, index), f"{register} stand in tables: files NAME{TABLE}")
                for index, register in enumerate(registers)
                if register in ONLY_TABLES and not file.lower().endswith(TABLE)
            ]
        return problems

    def _find_unlisted(self, prefix: str, listed: set[str], apart: tuple[str, ...] = ()) -> list[Problem]:
        return [
            Problem(
                ("files",),
                f"the folder holds {file}, which is not listed here: list it with its registers or remove it",
            )
            for path in self._find_files()
            if path.startswith(prefix) and not (apart and path.startswith(apart))
            if (file := path.removeprefix(prefix)) not in listed
        ]

    def _is_inside(self, file: str) -> bool:
        try:
            return (self.folder / file).resolve().is_relative_to(self.folder.resolve())
        except (OSError, RuntimeError, ValueError):
            return False

    def _check_file(self, prefix: str, file: str) -> list[Problem]:
        try:
            is_file = (self.folder / prefix / file).is_file()
        except (OSError, RuntimeError, ValueError):
            return [Problem(("files", file), f"{file!r} is no file's name", at_key=True)]
        if PurePosixPath(file).is_absolute() or not self._is_inside(f"{prefix}{file}"):
            return [Problem(("files", file), f"{file} leads out of the policy folder", at_key=True)]
        if not is_file:
            hint = nearest(file, [path.removeprefix(prefix) for path in self._find_files() if path.startswith(prefix)])
            return [Problem(("files", file), f"{file} is listed here and missing in the folder{hint}", at_key=True)]
        return []

    def _find_files(self) -> list[str]:
        if self._listing is not None:
            return self._listing
        found = sorted(str(path) for path in list_visible(self.folder) if path.suffix.lower() in _LISTED)
        self._listing = [path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for path in found]
        return self._listing

    def _read_pack(self, namespace: str, folder: str) -> None:
        """Read the registers of a pack, under its namespace."""
        prefix = f"{folder.rstrip('/')}/"
        file = f"{prefix}{PACK_MANIFEST}"
        if not self._is_pack(folder):
            self.incomplete.update(PACK_REGISTERS)
            return
        document, problems = self._read_document(file)
        self.problems += problems
        if document is None:
            self.incomplete.update(PACK_REGISTERS)
            return
        manifest: PackManifest | list[Problem] | None = validate(PackManifest, document.value)
        if isinstance(manifest, list):
            for problem in manifest:
                self.fail(document, problem)
            manifest = salvage(PackManifest, document.value)
        if manifest is None:
            self.incomplete.update(PACK_REGISTERS)
            return
        for problem in (
            *self._check_listed(prefix, manifest.files, PACK_REGISTERS),
            *self._find_unlisted(prefix, {PACK_MANIFEST, *manifest.files}),
        ):
            self.fail(document, problem)
        self._read_files(prefix, namespace, manifest.files, PACK_REGISTERS)

    def _read_files(
        self, prefix: str, namespace: str, files: Mapping[str, Sequence[str]], known: Sequence[str]
    ) -> None:
        for file, registers in files.items():
            if file.lower().endswith(TABLE):
                self._read_table(prefix, file, registers)
                continue
            document, problems = (
                (None, []) if self._check_file(prefix, file) else self._read_document(f"{prefix}{file}")
            )
            self.problems += problems
            if document is not None:
                self._sort_registers(document, registers, namespace, known)
            else:
                self.incomplete.update(registers)

    def _read_table(self, prefix: str, file: str, registers: Sequence[str]) -> None:
        name = self.name(f"{prefix}{file}")
        if self._check_file(prefix, file) or len(registers) != 1 or registers[0] not in TABLES or prefix:
            self.incomplete.update(registers)  # said of the manifest
            return
        data = read_bytes(self.folder / prefix / file, name, MAX_BYTES)
        if isinstance(data, FileProblem):
            self.problems.append(data)
            self.incomplete.update(registers)
            return
        self.tables[registers[0]].append(Table(name, data, self._note(file, data)))

    def _sort_registers(
        self, document: Document, registers: Sequence[str], namespace: str, known: Sequence[str]
    ) -> None:
        if not isinstance(document.value, dict):
            self.fail(document, Problem((), f"expected a mapping with: {', '.join(registers)}"))
            return
        for register, value in document.value.items():
            if register in ONLY_TABLES:
                message = f"{register} stand in tables: files NAME{TABLE}"
                self.fail(document, Problem((register,), message, at_key=True))
            elif register not in known:
                self.fail(document, Problem((register,), _unknown_register(register, known), at_key=True))
                self.incomplete.update(set(registers) - document.value.keys())
            elif register not in registers:
                message = f"the manifest does not list {register!r} for this file (it lists: {', '.join(registers)})"
                self.fail(document, Problem((register,), message, at_key=True))
            else:
                self._take_register(document, register, value, namespace)

    def _take_register(self, document: Document, register: str, value: Any, namespace: str) -> None:
        shape = dict if register == "country_sets" else list
        if not isinstance(value, shape):
            self.fail(document, Problem((register,), f"expected a {'mapping' if shape is dict else 'list'}"))
        elif isinstance(value, dict):
            self.raw[register] += [
                Item(document, (register, key), (key, entry), namespace) for key, entry in value.items()
            ]
        else:
            self.raw[register] += [
                Item(document, (register, index), entry, namespace) for index, entry in enumerate(value)
            ]

    def take(self, register: str, model: type[E]) -> Loaded:
        """Validate every entry of a register; those that cannot be looked at further are left out."""
        entries: list[E] = []
        items: list[Item] = []
        for item in self.raw[register]:
            entry: E | list[Problem] | None = validate(model, item.value)
            if isinstance(entry, list):
                for problem in entry:
                    self.fail(item.document, problem.under(*item.path))
                entry = salvage(model, item.value)
            if entry is not None:
                id_ = getattr(entry, "id", None)
                entries.append(entry.model_copy(update={"id": item.qualify(id_)}) if id_ and item.namespace else entry)
                items.append(item)
        return self._refuse_repeated(Loaded(tuple(entries), tuple(items)))

    def _refuse_repeated(self, loaded: Loaded) -> Loaded:
        seen: dict[str, Item] = {}
        for entry, item in zip(loaded.entries, loaded.items, strict=True):
            id_ = getattr(entry, "id", None)
            if id_ is None:
                continue
            first = seen.setdefault(id_, item)
            if first is not item:
                line, _ = first.document.locate((*first.path, "id"), at_key=False)
                message = f"the id {id_!r} stands twice, first in {first.document.name}:{line}"
                self.fail(item.document, Problem((*item.path, "id"), message))
        return loaded

    def read_file(self, name: str) -> tuple[bytes, str] | None:
        """Return what is in a file inside the folder that is no YAML, and SHA-256 of that.

        None: it cannot be read, or is too large. It is named from the folder on, so that a copy of the folder is whole.
        """
        try:
            path = (self.folder / name).resolve()
            if (
                PurePosixPath(name).is_absolute()
                or not path.is_relative_to(self.folder.resolve())
                or not path.is_file()
            ):
                return None
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (OSError, RuntimeError, ValueError):
            return None
        return (data, self._note(name, data)) if len(data) <= MAX_FILE_BYTES else None

    def refuse_file(self, name: str) -> str:
        """Say why `read_file` returned nothing."""
        files = [path.as_posix() for path in list_visible(self.folder)]
        if not FilePath(name).is_absolute() and self._is_inside(name) and (self.folder / name).is_file():
            return f"the file {name!r} cannot be read, or is larger than {MAX_FILE_BYTES // 2**20} MiB"
        return f"there is no file {name!r} inside the policy folder{nearest(name, files)}"

    def report(self, loaded: Loaded, problems: Iterable[Problem]) -> None:
        """Report problems whose paths begin with an entry's number."""
        for problem in problems:
            item = loaded.items[int(problem.path[0])]
            self.fail(item.document, Problem(problem.path[1:], problem.message, problem.at_key).under(*item.path))

    def declared_ids(self, register: str) -> frozenset[str]:
        """Return every id that is written in a register, also of entries that have other problems."""
        if register in self.incomplete:
            return Anything()
        items = [item for item in self.raw[register] if isinstance(item.value, dict)]
        found = frozenset(item.qualify(item.value["id"]) for item in items if isinstance(item.value.get("id"), str))
        return self._in_tables[register] | found if register in self._in_tables else found

    def declare(self, register: str, ids: frozenset[str]) -> None:
        """Note the ids that stand in the tables of a register."""
        self._in_tables[register] = ids

    def digest(self, registers: Sequence[str], more: Mapping[str, Any]) -> str:
        """Return SHA-256 over the content of registers: order of files, comments and layout do not count."""
        spoken = [name for name in registers if name not in LATER_REGISTERS or self.raw[name]]
        content = {
            register: sorted(json.dumps([item.namespace, item.value], sort_keys=True) for item in self.raw[register])
            for register in spoken
            if register not in ONLY_TABLES
        }
        tables = {name: sorted(each.digest for each in self.tables.get(name, ())) for name in spoken}
        whole = [content, more, *([tables] if any(tables.values()) else [])]
        return "sha256:" + hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _unknown_register(register: str, known: Sequence[str]) -> str:
    if register in NOT_YET_REGISTERS:
        return f"register {register!r} is not yet supported"
    if register in REGISTERS:
        return f"a pack may not hold {register!r}: {', '.join(known)} and nothing else"
    return f"no register {register!r}{nearest(register, known)}"


def _why_no_manifest(folder: FilePath) -> str:
    """Return why a folder has no manifest that could be read; empty where one lies there."""
    try:
        entries = {each.name: each for each in folder.iterdir() if each.name == MANIFEST or each.name[0] != "."}
        if MANIFEST in entries:
            return ""
        deeper = sorted(str(each) for each in entries.values() if (each / MANIFEST).is_file())
    except FileNotFoundError:
        return f"{folder} does not exist ({_INIT})"
    except NotADirectoryError:
        return f"{folder} is a file: name the folder it lies in ({_INIT})"
    except OSError as error:
        return f"{folder} cannot be read: {error.strerror}: let this user read it, and enter it"
    if deeper:
        return f"the manifest is missing here, and lies in {deeper[0]}: name that folder"
    return f"the manifest is missing: {_INIT}"
