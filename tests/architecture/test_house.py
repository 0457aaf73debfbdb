# SPDX-License-Identifier: Apache-2.0
"""The house as a test: who may import whom, what decides is pure, every module stands alone."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
MODULES: Final = sorted((ROOT / "proxy").rglob("*.py"))

ORDER: Final = (
    {"model", "errors", "clock", "version"},
    {"counting"},
    {"telemetry", "fetch", "disk", "pause", "secret", "systemd"},
    {"held"},
    {"request", "caller", "origin", "subject", "policy", "redaction", "ledger", "assertion", "volume"},
    {"bundle"},
    {"pipeline"},
    {"lifecycle", "gateway", "admin"},
    {"settings", "oplog", "running", "listening", "in_force", "wiring"},
    {"supervisor"},
    {"demo", "cli"},
)
"""The rooms, lowest first. A room imports lower rooms, never one of its own row, but for those below."""
NEIGHBOURS: Final = {
    ("wiring", "settings"), ("wiring", "running"), ("wiring", "listening"), ("wiring", "in_force"),
    ("in_force", "settings"), ("in_force", "running"), ("listening", "settings"), ("cli", "demo"),
}  # fmt: skip

WITH_IO: Final = {
    "caller.jwks",
    "disk",
    "fetch",
    "secret",
    "systemd",
    "pause",
    "held",
    "assertion.key_file",
    "assertion.held",
    "caller.introspection",
    "origin.geoip",
    "ledger.audit",
    "ledger.audit_parts",
    "ledger.inventory",
    "ledger.commit",
    "ledger.files",
    "ledger.journal",
    "ledger.key_file",
    "ledger.opening",
    "ledger.segments",
    "ledger.writer",
    "ledger.key_ring_watch",
    "ledger.prove",
    "ledger.archive",
    "ledger.witness",
    "ledger.witness_place",
    "ledger.stdout",
    "ledger.read",
    "ledger.follow",
    "ledger.key_ring_file",
    "bundle.listing",
    "bundle.read",
    "bundle.gather",
    "bundle.check",
    "bundle.emergency",
    "bundle.revision",
    "lifecycle.watch",
    "lifecycle.candidate",
    "lifecycle.reload",
    "lifecycle.kept",
    "volume.opening",
    "volume.shared",
    "subject.asking",
    "subject.directory",
    "subject.http_directory",
    "subject.postgresql_directory",
    "subject.redis_directory",
    "subject.sqlite_directory",
    "lifecycle.reminder",
    "clock",
    "version",
    "bundle.large",
    "bundle.large_affiliates",
    "bundle.large_lookups",
    "bundle.store",
    "origin.databases",
    "origin.renewal",
    "gateway", "admin", "settings", "oplog", "running", "listening", "in_force", "wiring", "demo", "cli",
    "supervisor.channel",
    "supervisor.crew",
    "supervisor.gates",
    "supervisor.member",
    "supervisor.run",
    "supervisor.swap",
    "supervisor.worker",
}  # fmt: skip
"""Modules and rooms that do I/O or read time; all others decide, and are pure."""
PURE_WITHIN: Final = ("gateway.wire",)
"""What is pure all the same, in a room that is not."""
COUNTING: Final = {
    "caller.jwks",
    "caller.introspection",
    "origin.renewal",
    "lifecycle.reload",
    "ledger.opening",
    "ledger.writer",
    "ledger.witness",
    "ledger.key_ring_watch",
    "volume.opening",
    "volume.shared",
    "subject.asking",
    "subject.directory",
    "telemetry",
    "gateway",
    "admin",
    "running",
    "supervisor.crew",
    "supervisor.run",
    "in_force",
    "wiring",
    "cli.probe",
}
"""Those that may count metrics."""
IMPURE: Final = {
    "aiohttp", "asyncio", "geoip2", "http", "importlib", "logging", "os", "pathlib", "random", "secrets", "shutil",
    "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uvloop",
}  # fmt: skip
PURE_USE: Final = {
    ("bundle.apis", "urllib.parse"),
    ("caller.discovery", "urllib.parse"),
    ("bundle.snapshot", "pathlib"),
    ("bundle.options", "pathlib"),
    ("caller.options", "pathlib"), ("ledger.options", "pathlib"),
    ("ledger.sink", "pathlib"), ("assertion.options", "pathlib"), ("origin.options", "pathlib"),
    ("gateway.wire.render", "http"), ("redaction.answers", "http"), ("volume.options", "pathlib"),
    ("redaction.codings", "sys"),
    ("subject.places", "urllib.parse"), ("subject.options", "pathlib"),
}  # fmt: skip
"""A path as a value, not as a way to a file; the phrases that belong to statuses; the version that has a module."""


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT / "proxy").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room"
            module = node.module or ""
            if module == "proxy":
                yield from (f"proxy.{alias.name}" for alias in node.names)
            else:
                yield module


def _room(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def _row(room: str) -> int:
    return next(row for row, rooms in enumerate(ORDER) if room in rooms)


def _is_listed(module: str, listed: set[str]) -> bool:
    return module in listed or (_room(module) in listed and not module.startswith(PURE_WITHIN))


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_run_one_way(path: Path) -> None:
    module = _name(path)
    if not module:
        assert list(_imports(path)) == [], "the map imports nothing"
        return
    for imported in _imports(path):
        if imported.split(".")[0] != "proxy":
            continue
        room, other = _room(module), _room(imported.removeprefix("proxy."))
        allowed = room == other or _row(other) < _row(room) or (room, other) in NEIGHBOURS
        assert allowed, f"{module} imports {imported}: {other} does not stand below {room}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_what_decides_is_pure(path: Path) -> None:
    module = _name(path)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not _is_listed(module, WITH_IO):
        for imported in _imports(path):
            roots = {imported, imported.split(".")[0]}
            assert not roots & IMPURE or (module, imported) in PURE_USE, f"{module} imports {imported}"
        awaits = [node.lineno for node in ast.walk(tree) if isinstance(node, (ast.AsyncFunctionDef, ast.Await))]
        assert not awaits, f"{module} is async in lines {awaits}"
    if not _is_listed(module, COUNTING):
        assert "proxy.telemetry" not in set(_imports(path)), f"{module} counts metrics"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_every_module_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    assert ast.get_docstring(ast.parse(text)), "no module docstring"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_functions_and_modules_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 500, "one room or two?"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"


@pytest.mark.timeout(300)  # half a minute of CPU, and others may want it too
def test_every_module_can_be_imported_alone() -> None:
    names = [f"proxy.{_name(path)}".rstrip(".") for path in MODULES if path.stem != "__main__"]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    before = set(sys.modules)\n"
        "    importlib.import_module(name)\n"
        "    for module in set(sys.modules) - before:\n"
        "        if module.startswith('proxy'): del sys.modules[module]\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *names], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr


def test_the_vocabulary_needs_no_network() -> None:
    code = "import sys, pkgutil, importlib, proxy.model as m\n"
    code += "[importlib.import_module(f'proxy.model.{x.name}') for x in pkgutil.iter_modules(m.__path__)]\n"
    code += "print([x for x in ('aiohttp', 'asyncio', 'ssl') if x in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "[]"


def test_tests_mirror_the_house() -> None:
    strangers = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests" / "unit").rglob("test_*.py")
        if not (ROOT / "proxy" / path.relative_to(ROOT / "tests" / "unit").parent / path.name[5:]).exists()
    ]
    assert strangers == []


def test_every_module_that_decides_has_its_own_tests() -> None:
    missing = [
        _name(path)
        for path in MODULES
        if _room(_name(path))
        in {"request", "caller", "origin", "subject", "policy", "redaction", "ledger", "assertion", "volume", "bundle"}
        and path.stem not in {"__init__", "options", "rules", "snapshot"}
        and not (ROOT / "tests" / "unit" / path.relative_to(ROOT / "proxy").parent / f"test_{path.name}").exists()
    ]
    assert missing == []
