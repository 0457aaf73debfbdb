# SPDX-License-Identifier: Apache-2.0
"""A policy folder as orchestrators mount it and change it, under a running gateway."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from aiohttp import web

from proxy import wiring
from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.errors import UsageError
from proxy.lifecycle.watch import take_fingerprint
from proxy.settings import read_settings
from tests.server.test_reload import URGENT, Place, becomes, readiness, status
from tests.support.kubelet import MountedVolume
from tests.support.world import POLICIES, run_world, serve_raw

ALLOW: Final = "rules/allow.yaml"
CASES: Final = "tests/line-2021.yaml"
URGENT_FILE: Final = "emergency_denies/emergency.yaml"
REVISION: Final = "5a" * 20
LATER: Final = "5b" * 20
Files: TypeAlias = dict[str, bytes]


def _files() -> dict[str, bytes]:
    """Return the whole reference bundle, folders and all, by path; without its own tests, so that it can change."""
    files = {
        path.relative_to(POLICIES).as_posix(): path.read_bytes()
        for path in POLICIES.rglob("*")
        if path.is_file() and path.suffix == ".yaml"
    }
    del files[CASES]
    files["bundle.yaml"] = files["bundle.yaml"].replace(f"  {CASES}: [tests]\n".encode(), b"")
    return files


def _shut_out(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return a bundle that does not let the test's caller in."""
    changed = files[ALLOW].replace(b"caller.kind: employee", b"caller.kind: service")
    assert changed != files[ALLOW]
    return {**files, ALLOW: changed}


@contextlib.asynccontextmanager
async def _mounted(folder: Path, policies: Path) -> AsyncIterator[Place]:
    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"id": 42})

    async with serve_raw(answer) as api, run_world(folder, api, policies=policies, watch_seconds=0.05) as world:
        yield Place(world.host, world.port, world.admin, world.ledger, world.poke, policies=policies)


async def _answers(place: Place, expected: int) -> bool:
    return await status(place) == expected


async def _is_stale(place: Place) -> bool:
    return bool((await readiness(place))["stale"])


async def _is_fresh(place: Place) -> bool:
    return not await _is_stale(place)


async def test_a_config_map_with_folders_is_in_force_and_followed_when_the_kubelet_swaps_it(tmp_path: Path) -> None:
    volume = MountedVolume(tmp_path / "volume")
    volume.write(_files())
    async with _mounted(tmp_path, volume.place) as place:
        assert await status(place) == 200
        before = (await readiness(place))["policy"]
        volume.write(_shut_out(_files()))
        await becomes(lambda: _answers(place, 403))
        await becomes(lambda: _is_fresh(place))
        assert (await readiness(place))["policy"] != before
        volume.write(_files())
        await becomes(lambda: _answers(place, 200))
        assert (await readiness(place))["policy"] == before


def _swap_after_reading(monkeypatch: pytest.MonkeyPatch, volume: MountedVolume, contents: list[Files]) -> None:
    """Have the kubelet swap the volume when a reading of it ends, for each of some contents."""

    def load(*where: Any) -> Snapshot:
        try:
            return load_bundle(*where)
        finally:
            if contents:
                volume.write(contents.pop(0))

    monkeypatch.setattr(wiring, "load_bundle", load)


@pytest.mark.parametrize("is_broken", [False, True], ids=["that loads", "that does not load"])
def test_a_config_map_that_is_swapped_while_a_gateway_begins_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_broken: bool
) -> None:
    volume = MountedVolume(tmp_path / "volume")
    volume.write({**_files(), ALLOW: b"rules: ["} if is_broken else _shut_out(_files()))
    _swap_after_reading(monkeypatch, volume, [_files()])
    told = read_settings(policies=str(volume.place))
    seen, snapshot = wiring.load_first(told)
    assert seen == take_fingerprint(volume.place)
    assert snapshot.digest == load_bundle(volume.place).digest


def test_a_config_map_that_never_stands_still_begins_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = MountedVolume(tmp_path / "volume")
    volume.write(_files())
    _swap_after_reading(monkeypatch, volume, [_files()] * wiring.FIRST_READINGS)
    with pytest.raises(UsageError, match="changed each of 5 times that it was read"):
        wiring.load_first(read_settings(policies=str(volume.place)))


async def test_a_config_map_that_brings_a_file_which_the_manifest_does_not_list_is_not_put_in_force(
    tmp_path: Path,
) -> None:
    volume = MountedVolume(tmp_path / "volume")
    volume.write(_files())
    async with _mounted(tmp_path, volume.place) as place:
        volume.write({**_shut_out(_files()), "rules/lost.yaml": b"rules: []\n"})
        await becomes(lambda: _is_stale(place))
        (told,) = (await readiness(place))["stale"]
        assert "rules/lost.yaml, which is not listed here" in told
        assert await status(place) == 200


async def test_a_config_map_of_emergency_denies_comes_and_goes_beside_the_bundle(tmp_path: Path) -> None:
    volume = MountedVolume(tmp_path / "volume")
    volume.write(_files())
    async with _mounted(tmp_path, volume.place) as place:
        assert await status(place) == 200
        volume.write({**_files(), URGENT_FILE: URGENT.encode()})
        await becomes(lambda: _answers(place, 403))
        assert (await readiness(place))["emergency_denies"] == ["emergency.cut-off"]
        volume.write(_files())
        await becomes(lambda: _answers(place, 200))
        await becomes(lambda: _is_fresh(place))  # links of names that are gone go after the swap


async def test_emergency_denies_in_a_volume_of_their_own_are_followed_below_a_folder_that_stays(
    tmp_path: Path,
) -> None:
    """As with policies that come in an image: the folder never changes, the volume mounted in it does."""
    policies = tmp_path / "policies"
    for name, data in _files().items():
        (policies / name).parent.mkdir(parents=True, exist_ok=True)
        (policies / name).write_bytes(data)
    volume = MountedVolume(policies / "emergency_denies")
    async with _mounted(tmp_path, policies) as place:
        assert await status(place) == 200
        volume.write({"emergency.yaml": URGENT.encode()})
        await becomes(lambda: _answers(place, 403))
        volume.write({})
        await becomes(lambda: _answers(place, 200))


def _check_out(root: Path, revision: str, files: dict[str, bytes]) -> None:
    """Do as git-sync does: a work tree of its own for each revision, and a link that is renamed over the last."""
    tree = root / ".worktrees" / revision
    for name, data in files.items():
        (tree / "policies" / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / "policies" / name).write_bytes(data)
    git = root / ".git" / "worktrees" / revision
    git.mkdir(parents=True)
    (git / "HEAD").write_text(f"{revision}\n", encoding="ascii")
    (tree / ".git").write_text(f"gitdir: ../../.git/worktrees/{revision}\n", encoding="ascii")
    link = root / "current"
    before = os.path.realpath(link) if link.is_symlink() else None
    new = root / "tmp-link"
    new.symlink_to(f".worktrees/{revision}")
    new.replace(link)
    if before is not None:
        shutil.rmtree(before)


async def test_a_work_tree_of_git_sync_is_followed_and_its_revision_is_recorded(tmp_path: Path) -> None:
    root = tmp_path / "git"
    _check_out(root, REVISION, _files())
    async with _mounted(tmp_path, root / "current" / "policies") as place:
        assert await status(place) == 200
        _check_out(root, LATER, _shut_out(_files()))
        await becomes(lambda: _answers(place, 403))
        await becomes(lambda: _is_fresh(place))
        kept = [path.read_text(encoding="utf-8") for path in place.ledger.glob("bundles/*/kept.json")]
        assert sorted(revision in text for revision in (REVISION, LATER) for text in kept) == [False, False, True, True]
