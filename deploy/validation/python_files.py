# SPDX-License-Identifier: Apache-2.0
"""Programs, pages, locks and texts under ``deploy/``: format, lint and types are other checks of the house."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from deploy.monitoring.runbooks import RunbooksError, parse_base
from deploy.validation.checks import Check


def _find_not_hashed(paths: Sequence[Path]) -> Iterable[str]:
    for path in paths:
        text = path.read_text(encoding="utf-8")
        for requirement in text.replace("\\\n", " ").splitlines():
            if requirement.strip() and not requirement.lstrip().startswith("#") and "--hash=sha256:" not in requirement:
                yield f"{path.name}: {requirement.split()[0]} has no hash: make lock"


def _find_not_compiled(paths: Sequence[Path]) -> Iterable[str]:
    for path in paths:
        try:
            compile(path.read_text(encoding="utf-8"), path.name, "exec")
        except SyntaxError as error:
            yield f"{path.name}:{error.lineno}: {error.msg}"


def _find_no_address(paths: Sequence[Path]) -> Iterable[str]:
    for path in paths:
        try:
            parse_base(path.read_text(encoding="utf-8"))
        except RunbooksError as error:
            yield f"{path.name}: {error}"


CHECKS: Final = (
    Check("every requirement has a hash", ("lock/*.txt",), _find_not_hashed),
    Check("it compiles (ruff and mypy see the rest)", ("**/*.py",), _find_not_compiled),
    Check("runbooks are at an address", ("monitoring/runbooks.txt",), _find_no_address),
    Check("links and names are held by the tests", ("**/README.md",), lambda _paths: ()),
)
