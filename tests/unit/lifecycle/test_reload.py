# SPDX-License-Identifier: Apache-2.0
"""The reload's child process: whoever stops waiting for it leaves nothing open behind."""

import asyncio
import contextlib
import gc
import math
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.lifecycle.options import LifecycleOptions
from proxy.lifecycle.reload import Reloader
from proxy.lifecycle.watch import take_fingerprint
from proxy.telemetry import Metrics
from tests.support.bundle_folder import edited, write_bundle
from tests.support.world import POLICIES


async def _adopt(_snapshot: object) -> None:
    return None


async def _renew() -> None:
    return None


async def _break_off(looks: int) -> None:
    """Begin to load the reference folder, and stop after some turns of the loop."""
    snapshot = load_bundle(POLICIES, {})
    reloader = Reloader(
        POLICIES,
        tried="",
        upstreams={},
        options=LifecycleOptions(),
        metrics=Metrics(),
        in_force=lambda: snapshot,
        adopt=_adopt,
        renew=_renew,
    )
    loading = asyncio.ensure_future(reloader.try_folder())
    while looks and not loading.done():
        looks -= 1
        await asyncio.sleep(0 if looks % 50 else 0.01)
    loading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await loading


@pytest.fixture
def unclosed() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield caught


@pytest.mark.parametrize("looks", [1, 5, 20, 60, 200, 1000, 4000])
def test_a_load_that_is_broken_off_leaves_no_process_and_no_pipe_open(
    looks: int, unclosed: list[warnings.WarningMessage]
) -> None:
    asyncio.run(_break_off(looks))
    gc.collect()
    assert [str(warning.message) for warning in unclosed] == []


SOLD = """    owners_complete: true
    owners:
      - {state: JP, share: 100, until: 2026-01-01T00:00:00Z}
      - {state: CN, share: 100, from: 2026-01-01T00:00:00Z, until: 2999-01-01T00:00:00Z}
      - {state: KR, share: 100, from: 2999-01-01T00:00:00Z}
  - id: branch
"""


def test_a_folder_that_has_not_changed_is_loaded_again_when_a_date_comes(tmp_path: Path) -> None:
    """Loaded in 2025 it knows its registers until 2999, and the last of them begins in 2026, which is past."""
    folder = write_bundle(tmp_path, edited(("parties.yaml", "  - id: branch\n", SOLD)))
    before = load_bundle(folder, now=datetime(2025, 6, 1, tzinfo=UTC).timestamp())
    assert before.affiliates.renew_at == datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    adopted = []

    async def adopt(snapshot: Snapshot) -> None:
        adopted.append(snapshot)

    reloader = Reloader(
        folder,
        tried=take_fingerprint(folder),
        upstreams={},
        options=LifecycleOptions(),
        metrics=Metrics(),
        in_force=lambda: adopted[-1] if adopted else before,
        adopt=adopt,
        renew=_renew,
    )
    asyncio.run(reloader._look())
    (after,) = adopted
    assert (after.policy_digest, after.registers_digest) == (before.policy_digest, before.registers_digest)
    assert after.affiliates.covered_until == math.inf
    asyncio.run(reloader._look())
    assert len(adopted) == 1
