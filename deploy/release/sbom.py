# SPDX-License-Identifier: Apache-2.0
"""``python -m deploy.release.sbom DIR``: what a release installs, as CycloneDX; the same bytes each time.

What is locked, with the hashes that may be installed, is said by ``cyclonedx-py``. Added is what it cannot know: who
needs whom and under which licence, as the packages of these versions say that are installed here, and the hash of the
wheel that all this is for.
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from deploy.release.commit import ROOT, export_commit, read_epoch

LOCK: Final = "deploy/lock/runtime.txt"
SPEC_VERSION: Final = "1.6"
_ROOT_REF: Final = "root-component"
"""How ``cyclonedx-py`` calls the component that all this is for."""
_VALIDATE: Final = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
sys.exit(str(JsonStrictValidator(SchemaVersion.from_version(sys.argv[1])).validate_str(sys.stdin.read()) or "") or 0)
"""
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_EXTRA: Final = re.compile(r"extra\s*==\s*[\"']([^\"']+)")


class Described(msgspec.Struct, frozen=True):
    """What an installed package says of itself."""

    version: str
    licences: tuple[dict[str, Any], ...]
    """As CycloneDX has them; none where it says nothing."""
    requires: tuple[str, ...]
    """As ``Requires-Dist`` has them."""


def normalise(name: str) -> str:
    """Return the one form of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def describe_installed(path: Path | None = None) -> dict[str, Described]:
    """Return the installed packages by their names.

    Args:
        path: of ``site-packages``; None: of this environment.
    """
    found = importlib.metadata.distributions() if path is None else importlib.metadata.distributions(path=[str(path)])
    return {
        normalise(each.metadata["Name"]): Described(each.version, _find_licences(each), tuple(each.requires or ()))
        for each in found
    }


def _find_licences(found: importlib.metadata.Distribution) -> tuple[dict[str, Any], ...]:
    """Return an SPDX expression (PEP 639), else what classifiers say, else the first line of the field of old."""
    expressions, classifiers, texts = (
        found.metadata.get_all(name) or [] for name in ("License-Expression", "Classifier", "License")
    )
    if expressions:
        return ({"expression": expressions[0], "acknowledgement": "declared"},)
    told = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License :: OSI Approved :: ")]
    names = told or [text.strip().partition("\n")[0] for text in texts if text.strip()]
    return tuple({"license": {"name": name, "acknowledgement": "declared"}} for name in names)


def find_needed(requirements: Iterable[str], extras: Iterable[str] = ()) -> dict[str, set[str]]:
    """Return whom a package needs, wherever it is installed, and which extras of them.

    Args:
        requirements: as ``Requires-Dist`` has them.
        extras: those of the package itself that are asked for.
    """
    needed: dict[str, set[str]] = {}
    for requirement in requirements:
        text, _, marker = requirement.partition(";")
        extra, found = _EXTRA.search(marker), _REQUIREMENT.match(text)
        if found and (extra is None or extra[1] in extras):
            asked = {each.strip() for each in (found[2] or "").split(",") if each.strip()}
            needed.setdefault(normalise(found[1]), set()).update(asked)
    return needed


def find_graph(first: Iterable[str], described: Mapping[str, Described]) -> dict[str, list[str]]:
    """Return for each package whom it needs, beginning with what is needed at first, whose name is empty."""
    graph: dict[str, set[str]] = {"": set()}
    asked: dict[str, set[str]] = {}
    waiting = [("", find_needed(first))]
    while waiting:
        name, needed = waiting.pop()
        graph.setdefault(name, set()).update(needed)
        for each, extras in needed.items():
            if each not in asked or not extras <= asked[each]:
                asked.setdefault(each, set()).update(extras)
                graph.setdefault(each, set())
                requires = described[each].requires if each in described else ()
                waiting.append((each, find_needed(requires, asked[each])))
    return {name: sorted(needs) for name, needs in graph.items()}


def complete(bom: dict[str, Any], described: Mapping[str, Described], requires: Iterable[str], wheel: Path) -> None:
    """Add to what ``cyclonedx-py`` says of the lock what it cannot know.

    Args:
        bom: is changed.
        described: the installed packages by their names.
        requires: what the wheel needs.
        wheel: is what all this is for.

    Raises:
        ValueError: other versions are installed than are locked.
    """
    references = {_ROOT_REF: _ROOT_REF}
    for component in bom["components"]:
        name = normalise(component["name"])
        component.pop("description", None)  # the line of the lock, again
        references[name] = component["bom-ref"] = component["purl"]
        known = described.get(name)
        if known is None:  # not of this Python, or of this system
            continue
        if known.version != component["version"]:
            raise ValueError(f"{name} {known.version} is installed, and {component['version']} is locked: make setup")
        if known.licences:
            component["licenses"] = [*known.licences]
    bom["components"].sort(key=lambda component: str(component["bom-ref"]))
    graph = find_graph(requires, described)
    graph[_ROOT_REF] = graph.pop("")
    bom["dependencies"] = [
        {"ref": reference, "dependsOn": sorted(references[each] for each in graph.get(name, ()) if each in references)}
        for name, reference in sorted(references.items(), key=lambda pair: pair[1])
    ]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    bom["metadata"]["component"]["hashes"] = [{"alg": "SHA-256", "content": digest}]
    bom["metadata"]["component"]["purl"] = f"pkg:pypi/sekisho@{bom['metadata']['component']['version']}"


def render(bom: Mapping[str, Any]) -> str:
    """Return the text of a bill of materials, which is one whatever order its members were made in."""
    return json.dumps(bom, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def make(wheel: Path, tools: Path, root: Path = ROOT) -> str:
    """Return what the wheel of the last commit installs.

    Args:
        wheel: of that commit.
        tools: the folder of programs of an environment with ``cyclonedx-bom``.
        root: the checkout.

    Raises:
        ValueError: other versions are installed here than are locked, or the schema has something against it.
    """
    with export_commit(root) as source:
        requires = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
        made = subprocess.run(
            [
                str(tools / "cyclonedx-py"), "requirements", LOCK, "--pyproject", "pyproject.toml",
                "--output-reproducible", "--spec-version", SPEC_VERSION, "--output-format", "JSON",
            ],
            cwd=source, check=True, stdout=subprocess.PIPE,
            env={"PATH": os.defpath, "SOURCE_DATE_EPOCH": str(read_epoch(root)), "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
    bom = json.loads(made.stdout)
    complete(bom, describe_installed(), requires, wheel)
    text = render(bom)
    judged = subprocess.run(
        [str(tools / "python"), "-c", _VALIDATE, SPEC_VERSION], input=text, text=True, capture_output=True, check=False
    )
    if judged.returncode != 0:
        raise ValueError(f"the schema of CycloneDX {SPEC_VERSION} refuses it: {judged.stdout}{judged.stderr}")
    return text


def main() -> int:
    """Write it beside the wheel, if its schema has nothing against it."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release.sbom", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the wheel is, such as dist")
    parser.add_argument("--tools", type=Path, required=True, help="the folder of programs that has cyclonedx-py")
    options = parser.parse_args()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    wheel = options.folder / f"sekisho-{version}-py3-none-any.whl"
    place = options.folder / f"sekisho-{version}.cdx.json"
    try:
        place.write_text(make(wheel, options.tools.absolute()), encoding="utf-8")
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        print(f"{place} cannot be made: {error}", file=sys.stderr)
        return 2
    print(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
