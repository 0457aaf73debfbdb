# SPDX-License-Identifier: Apache-2.0
import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.errors import UsageError
from proxy.ledger.archive import KEPT, Archive
from proxy.ledger.record import BUNDLE_DIGITS
from proxy.ledger.segments import BUNDLES
from proxy.lifecycle.kept import keep_bundle, load_kept
from tests.support.bundle_folder import edited, write_bundle
from tests.support.passages import NOW


def keep(folder: Path) -> tuple[Snapshot, Path]:
    """Keep the small bundle, and return it and where it is."""
    lay = {"p/.git/HEAD": "1" * 40}
    write_bundle(folder, lay)
    snapshot = load_bundle(write_bundle(folder / "p"))
    (folder / "l").mkdir(exist_ok=True)
    asyncio.run(keep_bundle(Archive(folder / "l"), snapshot))
    return snapshot, folder / "l" / BUNDLES / snapshot.digest


def test_what_was_kept_is_loaded_by_what_a_line_calls_it(tmp_path: Path) -> None:
    snapshot, place = keep(tmp_path)
    again, remarks = load_kept(tmp_path / "l", snapshot.digest[:BUNDLE_DIGITS], NOW)
    assert (again.digest, again.folder) == (snapshot.digest, place)
    (remark,) = remarks
    assert remark.startswith("explained under the bundle that decided it: small, in force since 20")
    assert remark.endswith(f", git revision {'1' * 40}")


def rewrite(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text, encoding="utf-8")


REFUSED: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "it is not there": (lambda place: place.rename(place.parent / "aside"), "is not kept in"),
    "a rule was edited": (
        lambda place: rewrite(place / "rules.yaml", edited(("rules.yaml", "deny", "allow"))["rules.yaml"]),
        "not as it was kept (rules.yaml)"),
    "a file is gone": (lambda place: (place / "rules.yaml").unlink(), "not as it was kept (rules.yaml)"),
    "a file was added": (
        lambda place: write_bundle(place, {"emergency_denies/a.yaml": ""}), "(emergency_denies/a.yaml)"),
    "its description is gone": (lambda place: (place / KEPT).unlink(), "not as it was kept (kept.json)"),
    "its description is damaged": (lambda place: rewrite(place / KEPT, "{"), "not as it was kept (kept.json)"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_as_it_was_kept_explains_nothing(
    tmp_path: Path, damage: Callable[[Path], object], told: str
) -> None:
    snapshot, place = keep(tmp_path)
    damage(place)
    with pytest.raises(UsageError) as raised:
        load_kept(tmp_path / "l", snapshot.digest[:BUNDLE_DIGITS], NOW)
    assert told in str(raised.value)


def test_a_forged_description_is_told_of(tmp_path: Path) -> None:
    """The ledger's own lines are signed, and name what the files must come to."""
    snapshot, place = keep(tmp_path)
    text = (place / "rules.yaml").read_text(encoding="utf-8").replace("employee", "contractor")
    described = json.loads((place / KEPT).read_bytes())
    for file in described["files"]:
        if file["path"] == "rules.yaml":
            file |= {"sha256": hashlib.sha256(text.encode()).hexdigest(), "size": len(text)}
    rewrite(place / "rules.yaml", text)
    rewrite(place / KEPT, json.dumps(described))
    again, remarks = load_kept(tmp_path / "l", snapshot.digest[:BUNDLE_DIGITS], NOW)
    assert again.digest != snapshot.digest
    (remark,) = remarks
    assert "its kept.json was forged" in remark
