# SPDX-License-Identifier: Apache-2.0
"""The unit: that what judges it finds what is wrong, and that its times fit those of the program."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from deploy.validation.checks import DEPLOY, Check
from deploy.validation.systemd import CHECKS, read_drop_ins, verify
from proxy.settings import Settings
from proxy.supervisor.crew import MARGIN_SECONDS

FOLDER: Final = DEPLOY / "systemd"
UNIT: Final = FOLDER / "sekisho.service"
BY_TITLE: Final = {check.title: check for check in CHECKS}
SETTINGS: Final = BY_TITLE["the settings of the gateway"]
HARDENED: Final = BY_TITLE["systemd-analyze security"]
USERS: Final = BY_TITLE["systemd-sysusers"]


def _found(check: Check, path: Path) -> list[str]:
    if check.missing:
        pytest.skip(check.missing)
    return [*check.find_problems([path])]


def _changed(folder: Path, name: str, old: str, new: str) -> Path:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert old in text
    path = folder / name
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


WRONG: Final = {
    "a setting that there is not": (SETTINGS, "sekisho.env", "SEKISHO_LISTEN=", "SEKISHO_LISTENS=", "is no setting"),
    "one that there is not, in an example": (
        SETTINGS, "sekisho.env", "#SEKISHO_WORKERS", "#SEKISHO_WORKRES", "did you mean 'SEKISHO_WORKERS'"),
    "a value that cannot be used": (SETTINGS, "sekisho.env", "WORKERS=4", "WORKERS=four", "SEKISHO_WORKERS: "),
    "no JSON": (SETTINGS, "sekisho.env", '{"users": ', "{users: ", "SEKISHO_UPSTREAM: "),
    "no line that systemd reads": (SETTINGS, "sekisho.env", "}'", "}", "No closing quotation"),
    "less hardening": (HARDENED, "sekisho.service", "NoNewPrivileges=yes\n", "", "harden it"),
    "a word that systemd passes over": (HARDENED, "sekisho.service", "ProtectHome", "ProtectHomes", "harden it"),
    "a user of another name": (USERS, "sekisho.sysusers.conf", "u sekisho", "u gateway", "no user sekisho"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_found(tmp_path: Path, wrong: tuple[Check, str, str, str, str]) -> None:
    check, name, old, new, said = wrong
    assert _found(check, FOLDER / name) == []
    (problem,) = _found(check, _changed(tmp_path, name, old, new))
    assert said in problem
    assert problem.startswith(f"systemd/{name}: ")


BROKEN_UNITS: Final = {
    "a word that there is not": ("PrivateTmp=yes", "PrivatTmp=yes", "Unknown key"),
    "a program that is not there": ("/usr/lib/sekisho/bin/sekisho", "/usr/lib/sekisho/sekisho", "not executable"),
    "a time that is none": ("TimeoutStopSec=60s", "TimeoutStopSec=soon", "Failed to parse"),
    "a kind of service that there is not": ("Type=notify", "Type=tells", "Failed to parse"),
}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing (Debian: systemd)")
@pytest.mark.parametrize(("old", "new", "said"), BROKEN_UNITS.values(), ids=BROKEN_UNITS)
def test_a_unit_that_systemd_does_not_take_is_found(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert verify(UNIT) == ""
    assert said in verify(_changed(tmp_path, UNIT.name, old, new))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing (Debian: systemd)")
def test_a_drop_in_that_systemd_does_not_take_is_found() -> None:
    assert "Unknown key" in verify(UNIT, "[Service]\nLoadCredentials=a:/b\n")


def test_the_page_has_drop_ins_to_verify() -> None:
    assert len(read_drop_ins(FOLDER / "README.md")) >= 3


def test_whoever_stops_is_given_the_time_that_it_may_take() -> None:
    text = UNIT.read_text(encoding="utf-8")
    (stop,), (start,), (watchdog,) = (
        map(float, re.findall(rf"(?m)^{name}=(\d+)s$", text))
        for name in ("TimeoutStopSec", "TimeoutStartSec", "WatchdogSec")
    )
    drain = Settings.model_fields["drain_seconds"].default
    assert stop >= drain + 2 * MARGIN_SECONDS
    assert start > Settings.model_fields["reload_seconds"].default
    assert watchdog >= 10


_SYSTEMS_OWN: Final = ("/usr/sbin/", "/var/tmp")  # noqa: S108 - looked for, not written


def _paths(text: str) -> Iterable[str]:
    return re.findall(r"(?<![\w%])/(?:etc|usr|var)/[\w./@-]+", text)


def test_every_place_that_unit_and_examples_name_stands_in_the_page() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in FOLDER.iterdir():
        for place in _paths(path.read_text(encoding="utf-8")) if path.suffix != ".md" else ():
            known = any(place.startswith(each) or each.startswith(place) for each in _paths(page))
            assert known or place.startswith(_SYSTEMS_OWN), f"{path.name} names {place}"
