# SPDX-License-Identifier: Apache-2.0
"""The reload's child process: whoever stops waiting for it leaves nothing open behind."""

import asyncio
import contextlib
import gc
import warnings
from collections.abc import Iterator

import pytest

from proxy.bundle.check import load_bundle
from proxy.lifecycle.options import LifecycleOptions
from proxy.lifecycle.reload import Reloader
from proxy.telemetry import Metrics
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
