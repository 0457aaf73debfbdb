# SPDX-License-Identifier: Apache-2.0
"""What is put in force is kept first, and an old record is explained under what decided it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from proxy.bundle.check import load_bundle
from proxy.cli import main
from proxy.errors import ArchiveError
from proxy.ledger.archive import KEPT
from proxy.ledger.segments import BUNDLES
from tests.server.test_reload import URGENT, Place, a_place, becomes, edit, metric, readiness, status
from tests.support.ledger import read_raw
from tests.support.world import POLICIES, headers, run_world


async def ask(place: Place) -> dict[str, Any]:
    """Ask for a user and return the decision's record."""
    await status(place)
    return place.records()[-1]


def forbid(place: Place, country: str) -> None:
    """Let rules refuse what they allowed, and tell tests so by leaving them out."""
    rule = "      caller.affiliate: ly\n      caller.kind: employee\n"
    edit(place, "rules/allow.yaml", rule, f"{rule}      origin.country: {country}\n")
    if (place.policies / "tests").exists():
        edit(place, "bundle.yaml", "  tests/line-2021.yaml: [tests]\n", "")
        shutil.rmtree(place.policies / "tests")


async def is_status(place: Place, expected: int) -> bool:
    return await status(place) == expected


def kept(place: Place) -> dict[str, Path]:
    return {path.name: path for path in (place.ledger / BUNDLES).iterdir() if not path.name.startswith(".")}


async def test_each_bundle_in_force_is_kept_and_explains_what_it_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_place(tmp_path) as place:
        records = [await ask(place)]
        for country, expected in (("TW", 403), ("JP", 200)):
            forbid(place, country)
            await becomes(lambda: is_status(place, expected))  # noqa: B023 - asked before the next turn
            records.append(await ask(place))
            forbid_again = f"      origin.country: {country}\n"
            text = (place.policies / "rules" / "allow.yaml").read_text(encoding="utf-8")
            (place.policies / "rules" / "allow.yaml").write_text(text.replace(forbid_again, ""), encoding="utf-8")
        ledger = place.ledger
        named = [record["bundle"] for record in place.records("bundle")]
    assert {record["bundle"] for record in records} <= {name[:32] for name in named}
    assert {path.name for path in (ledger / BUNDLES).iterdir()} == set(named)
    assert len(set(named)) >= 3
    for name in set(named):
        assert load_bundle(ledger / BUNDLES / name).digest == name
        assert main(["check", str(ledger / BUNDLES / name)]) == 0
    capsys.readouterr()
    first, second, _ = records
    assert main(["explain", "--ledger", str(ledger), "--id", first["id"]]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"request {first['id']}: effect allow, rule ly-staff-read-japan")
    assert "explained under the bundle that decided it: " in out
    assert "under another bundle" not in out
    line = next(line for line in read_raw(ledger) if f'"id":"{second["id"]}"'.encode() in line)
    (tmp_path / "line").write_bytes(line)
    assert main(["explain", "--ledger", str(ledger), "--line", str(tmp_path / "line")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"request {second['id']}: effect deny")
    assert "no       origin.country: TW  (is JP)".replace("       ", "      ") in out
    assert main(["explain", str(POLICIES), "--ledger", str(ledger), "--id", second["id"]]) == 0
    assert "it was decided under another bundle" in capsys.readouterr().out


async def test_emergency_denies_are_kept_as_they_were_in_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_place(tmp_path) as place:
        (place.policies / "affiliates.yaml").write_text("affiliates: [", encoding="utf-8")
        (place.policies / "emergency_denies").mkdir()
        (place.policies / "emergency_denies" / "now.yaml").write_text(URGENT, encoding="utf-8")
        await becomes(lambda: is_status(place, 403))
        whole = await ask(place)
        more = URGENT.replace("cut-off", "another") + "  - {id: broken}\n"
        (place.policies / "emergency_denies" / "now.yaml").write_text(more, encoding="utf-8")
        await becomes(lambda: _denies(place, ["emergency.another", "emergency.cut-off"]))
        broken = await ask(place)
        ledger = place.ledger
    for record in (whole, broken):
        (folder,) = (path for path in (ledger / BUNDLES).iterdir() if path.name.startswith(record["bundle"]))
        assert load_bundle(folder).digest == folder.name
        assert main(["check", str(folder)]) == 0
        capsys.readouterr()
        assert main(["explain", "--ledger", str(ledger), "--id", record["id"]]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"request {record['id']}: effect deny, rule {record['rule']}")
        assert "deny emergency.cut-off applies" in out
        assert ("deny emergency.another applies" in out) is (record is broken)


async def _denies(place: Place, ids: list[str]) -> bool:
    return bool((await readiness(place))["emergency_denies"] == ids)


async def test_a_large_table_is_kept_once(tmp_path: Path) -> None:
    people = "issuer,subject,affiliate,kind,site_country,residence,citizenships,from,until\n"
    people += "".join(f"corp,e-{number},ly,employee,JP,JP,JP,,\n" for number in range(20_000))
    async with a_place(tmp_path, registers_folder=tmp_path / "registers") as place:
        (place.policies / "people.csv").write_text(people, encoding="utf-8")
        edit(place, "bundle.yaml", "files:\n", "files:\n  people.csv: [people]\n")
        await becomes(lambda: _kept_with(place, "people.csv", 1))
        forbid(place, "TW")
        await becomes(lambda: is_status(place, 403))
        files = [path / "people.csv" for path in kept(place).values() if (path / "people.csv").exists()]
        assert len(files) >= 2
        assert len({file.stat().st_ino for file in files}) == 1
        assert {file.stat().st_nlink for file in files} == {len(files)}


async def _kept_with(place: Place, file: str, count: int) -> bool:
    state = await readiness(place)
    found = [path for path in kept(place).values() if (path / file).exists()]
    return len(found) == count and any(json.loads((path / KEPT).read_bytes())["bundle"]["registers"]
                                       == state["registers"] for path in found)  # fmt: skip


async def test_what_cannot_be_kept_is_not_put_in_force_until_it_can(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        before = (await readiness(place))["policy"]
        (place.ledger / BUNDLES).rename(place.ledger / "aside")
        (place.ledger / BUNDLES).write_bytes(b"")
        forbid(place, "TW")
        await becomes(lambda: _is_stale(place))
        state = await readiness(place)
        assert any("what is not kept is not put in force" in reason for reason in state["stale"]), state["stale"]
        assert state["policy"] == before
        assert await status(place) == 200
        assert await metric(place, "sekisho_bundle_stale") == 1
        assert len(place.records("bundle")) == 1
        (place.ledger / BUNDLES).unlink()
        await becomes(lambda: is_status(place, 403))
        assert (await readiness(place))["stale"] == []
        assert [record["bundle"] for record in place.records("bundle")][1:] == list(kept(place))


async def _is_stale(place: Place) -> bool:
    return bool((await readiness(place))["stale"])


async def test_a_gateway_that_cannot_keep_its_bundle_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir(mode=0o700)
    (tmp_path / "ledger" / BUNDLES).write_bytes(b"")
    with pytest.raises(ArchiveError, match="what is not kept is not put in force"):
        async with run_world(tmp_path, "http://127.0.0.1:9"):
            pass
    assert read_raw(tmp_path / "ledger") == []


async def test_the_same_bundle_is_kept_once_over_many_starts(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        async with a_place(tmp_path) as place:
            assert headers()
            ((name, folder),) = kept(place).items()
            seen.append((name, folder.stat().st_ino, (folder / KEPT).read_bytes()))
            assert place.records("bundle")[-1]["bundle"] == name
        shutil.rmtree(place.policies)
    assert seen[0] == seen[1]
