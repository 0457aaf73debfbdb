# SPDX-License-Identifier: Apache-2.0
"""Where runbooks are is said once, by whoever deploys, and every file that names one follows."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from deploy.monitoring.generated import ROOT
from deploy.monitoring.runbooks import PAGES, PLACE, RunbooksError, link, parse_base

TAKEN: Final = {
    "the project's own folder": ("docs/runbooks\n", "docs/runbooks"),
    "a URL": ("https://wiki.example/sekisho/runbooks", "https://wiki.example/sekisho/runbooks"),
    "a URL with a slash at its end": ("https://wiki.example/runbooks/\n", "https://wiki.example/runbooks"),
    "a URL of a host alone": ("https://runbooks.example", "https://runbooks.example"),
    "a URL with a port": ("http://10.0.0.7:8080/r", "http://10.0.0.7:8080/r"),
    "a URL of a repository": (
        "https://git.example/sekisho/blob/v1.0/docs/runbooks", "https://git.example/sekisho/blob/v1.0/docs/runbooks"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "base"), TAKEN.values(), ids=TAKEN)
def test_an_address_of_runbooks_is(text: str, base: str) -> None:
    assert parse_base(text) == base


REFUSED: Final = {
    "nothing": "",
    "another folder": "docs/pages",
    "a folder of the machine": "/srv/runbooks",
    "a host without a scheme": "wiki.example/runbooks",
    "another scheme": "javascript:alert(1)",
    "a scheme alone": "https://",
    "a query": "https://wiki.example/?page=",
    "a fragment": "https://wiki.example/runbooks#",
    "two lines": "https://wiki.example/runbooks\nhttps://other.example",
    "a blank": "https://wiki.example/run books",
    "a template of Prometheus": "https://wiki.example/{{ $labels.job }}",
    "a variable of Grafana's": "https://wiki.example/$HOME",
    "a quote": "https://wiki.example/'",
    "a user": "https://me@wiki.example/runbooks",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_no_address_of_runbooks_is(text: str) -> None:
    with pytest.raises(RunbooksError, match=r"is no address of runbooks: write the URL .+ or docs/runbooks\."):
        parse_base(text)


def test_the_address_that_is_kept_is_one_and_names_pages() -> None:
    assert link("down") == f"{parse_base(PLACE.read_text(encoding='utf-8'))}/down.md"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the copy."""
    return subprocess.run(
        [sys.executable, "-P", "-m", *arguments], cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip


def test_who_keeps_them_elsewhere_has_every_file_follow_and_nothing_drift(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "proxy").symlink_to(ROOT / "proxy")
    elsewhere = "https://runbooks.example/pages"
    named = run(tmp_path, "deploy.monitoring.runbooks", f"{elsewhere}/")
    assert (named.returncode, named.stderr) == (0, "")
    drifted = run(tmp_path, "deploy.monitoring", "--check")
    assert (drifted.returncode, drifted.stderr) == (1, "")
    written = run(tmp_path, "deploy.monitoring")
    assert (written.returncode, written.stderr) == (0, "")
    held = run(tmp_path, "deploy.monitoring", "--check")
    assert (held.returncode, held.stdout, held.stderr) == (0, "", "")
    for line in drifted.stdout.splitlines():
        text = (tmp_path / line.partition(":")[0]).read_text(encoding="utf-8")
        assert elsewhere in text, line
        assert f"{PAGES}/" not in text, line
    places = {line.partition(":")[0].split("/")[1] for line in drifted.stdout.splitlines()}
    assert places == {"prometheus", "kubernetes", "grafana"}
    refused = run(tmp_path, "deploy.monitoring.runbooks", "nowhere")
    assert refused.returncode == 2
    assert "'nowhere' is no address of runbooks" in refused.stderr
    assert run(tmp_path, "deploy.monitoring", "--check").returncode == 0, "and changes nothing"
