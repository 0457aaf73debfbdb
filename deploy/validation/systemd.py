# SPDX-License-Identifier: Apache-2.0
"""The unit and what belongs to it: judged by systemd itself, in a folder that has what the unit names."""

import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from deploy.validation.checks import DEPLOY, Check, run_program

MAX_EXPOSURE: Final = 1.1
"""Of 10, as ``systemd-analyze security`` reckons it: it speaks TCP with addresses that this unit cannot know."""
_FOLDER: Final = DEPLOY / "systemd"
_PROGRAMS: Final = ("usr/lib/sekisho/bin/sekisho", "bin/kill")
"""What the unit starts."""
_OTHERS: Final = (
    "basic.target",
    "multi-user.target",
    "network-online.target",
    "nss-lookup.target",
    "shutdown.target",
    "sysinit.target",
    "time-sync.target",
)
"""Units that it stands among."""


def make_root(folder: Path, unit: Path, *drop_ins: str) -> Path:
    """Make a folder in which there is all that a unit names, and return the unit's place in it.

    Args:
        folder: an empty one.
        unit: the file.
        drop_ins: what is changed of it, as ``systemctl edit`` would write it.
    """
    for program in map(folder.joinpath, _PROGRAMS):
        program.parent.mkdir(parents=True)
        program.touch(0o755)
    units = folder / "etc" / "systemd" / "system"
    (units / f"{unit.name}.d").mkdir(parents=True)
    for other in _OTHERS:
        (units / other).write_text("[Unit]\n", encoding="utf-8")
    for number, text in enumerate(drop_ins):
        (units / f"{unit.name}.d" / f"{number}.conf").write_text(text, encoding="utf-8")
    return Path(shutil.copy(unit, units))


def verify(unit: Path, *drop_ins: str) -> str:
    """Return what systemd finds wrong with a unit; empty where that is nothing."""
    with tempfile.TemporaryDirectory() as name:
        place = make_root(Path(name), unit, *drop_ins)
        code, said = run_program(
            "systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={name}", str(place)
        )
    return said or ("" if code == 0 else f"systemd-analyze verify ended with {code}")


def read_drop_ins(page: Path) -> list[str]:
    """Return the examples of drop-ins that a page has."""
    return re.findall(r"```ini\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def _find_unit_problems(paths: Sequence[Path]) -> Iterable[str]:
    for path in paths:
        for drop_in in ("", *read_drop_ins(_FOLDER / "README.md")):
            said = verify(path, drop_in)
            if said:
                yield f"systemd/{path.name}{' with a drop-in of its README.md' if drop_in else ''}: {said}"


def _find_exposed(paths: Sequence[Path]) -> Iterable[str]:
    for path in paths:
        code, said = run_program("systemd-analyze", "security", "--offline=true", "--no-pager", str(path))
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
        if code != 0 or found is None:
            yield f"systemd/{path.name}: it cannot be judged: {said}"
        elif float(found[1]) > MAX_EXPOSURE:
            yield f"systemd/{path.name}: its exposure is {found[1]}, and may be {MAX_EXPOSURE}: harden it"


def _find_user_problems(paths: Sequence[Path]) -> Iterable[str]:
    for path in paths:
        with tempfile.TemporaryDirectory() as root:
            Path(root, "etc").mkdir()
            code, said = run_program("systemd-sysusers", f"--root={root}", str(path))
            users = Path(root, "etc", "passwd").read_text(encoding="utf-8") if code == 0 else ""
        if not re.search(r"(?m)^sekisho:", users):
            yield f"systemd/{path.name}: it makes no user sekisho: {said}"


def read_variables(text: str, *, examples: bool) -> list[str]:
    """Return the assignments of an environment file, without their quotes.

    Args:
        text: of the file.
        examples: whether to take those, too, before which there is a ``#``.
    """
    text = re.sub(r"(?m)^#(?=[A-Z_]+=)", "", text) if examples else text
    return [word for line in text.splitlines() for word in shlex.split(line, comments=True)]


def read_environment(unit: Path) -> list[str]:
    """Return the assignments of a unit, with its folders as systemd would name them."""
    folders = {"%S": "/var/lib", "%C": "/var/cache", "%d": f"/run/credentials/{unit.name}"}
    words = re.findall(r"(?m)^Environment=(.*)$", unit.read_text(encoding="utf-8"))
    return [re.sub("|".join(folders), lambda match: folders[match[0]], word) for word in words]


def _find_setting_problems(paths: Sequence[Path]) -> Iterable[str]:
    of_unit = read_environment(_FOLDER / "sekisho.service")
    for path in paths:
        text = path.read_text(encoding="utf-8")
        try:
            without, with_examples = (read_variables(text, examples=each) for each in (False, True))
        except ValueError as error:
            yield f"systemd/{path.name}: systemd would not read this as it looks: {error}"
            continue
        for variables in (without, with_examples):
            code, said = run_program(
                "env", "-i", f"PYTHONPATH={DEPLOY.parent}", *of_unit, *variables,
                sys.executable, "-c", "from proxy.settings import read_settings; read_settings()",
            )  # fmt: skip
            if code != 0:
                yield f"systemd/{path.name}: {said.splitlines()[-1]}"
                break


CHECKS: Final = (
    Check(
        "systemd-analyze verify", ("systemd/*.service",), _find_unit_problems, ("systemd-analyze",), "Debian: systemd"
    ),
    Check("systemd-analyze security", ("systemd/*.service",), _find_exposed, ("systemd-analyze",), "Debian: systemd"),
    Check(
        "systemd-sysusers", ("systemd/*.sysusers.conf",), _find_user_problems, ("systemd-sysusers",), "Debian: systemd"
    ),
    Check("the settings of the gateway", ("systemd/*.env",), _find_setting_problems),
)
