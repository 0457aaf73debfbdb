# SPDX-License-Identifier: Apache-2.0
import asyncio
import contextlib
from pathlib import Path

import msgspec
import pytest

from proxy.assertion.held import HeldAssertionKeys
from proxy.assertion.keys import AssertionKeys
from proxy.assertion.options import AssertionOptions
from proxy.errors import UsageError
from proxy.model.api import Api, AssertionMode, Upstream
from tests.support.assertions import KEY, NEXT, write_assertion_keys
from tests.support.world import wait_for

API = Api("users", (), Upstream("http://127.0.0.1:1", None), forwards_authorization=False)


def declaring(mode: AssertionMode | None) -> list[Api]:
    return [API, msgspec.structs.replace(API, assertion=mode)]


async def test_a_key_that_is_added_is_put_to_use(tmp_path: Path) -> None:
    path = write_assertion_keys(tmp_path / "keys")
    held = HeldAssertionKeys(AssertionOptions(assertion_key=path), seconds=0)
    assert held.keys == AssertionKeys([KEY])
    adopted: list[AssertionKeys | None] = []
    watching = asyncio.ensure_future(held.watch(lambda: adopted.append(held.keys)))
    write_assertion_keys(path, NEXT)
    held.poke()
    await wait_for(lambda: adopted == [AssertionKeys([KEY, NEXT])])
    assert NEXT.id in held.publish().decode()
    path.chmod(0o644)
    held.poke()
    await wait_for(held.find_doubts)
    assert "open to others" in held.find_doubts()[0]
    assert held.keys == AssertionKeys([KEY, NEXT]), "the last good ones stay"
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


@pytest.mark.parametrize("mode", [None, AssertionMode.OFF])
async def test_without_a_key_nothing_is_signed_where_nobody_declares_it(mode: AssertionMode | None) -> None:
    held = HeldAssertionKeys(AssertionOptions(), seconds=1)
    assert (held.keys, held.make(declaring(mode), "b"), held.find_doubts()) == (None, None, ())
    held.poke()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(held.watch(lambda: pytest.fail("there is nothing to put to use")), 0.01)


@pytest.mark.parametrize("mode", [AssertionMode.CALLER, AssertionMode.REQUEST])
def test_what_is_declared_and_cannot_be_signed_is_refused(tmp_path: Path, mode: AssertionMode) -> None:
    with pytest.raises(UsageError, match=rf"The API users declares `assertion: {mode}`, and no key"):
        HeldAssertionKeys(AssertionOptions(), seconds=0).make(declaring(mode), "b")
    options = AssertionOptions(assertion_key=write_assertion_keys(tmp_path / "keys"))
    assert HeldAssertionKeys(options, seconds=0).make(declaring(mode), "b") is not None


def test_keys_are_not_served_where_there_are_none() -> None:
    with pytest.raises(UsageError, match="set SEKISHO_ASSERTION_KEY"):
        HeldAssertionKeys(AssertionOptions(assertion_jwks_listen="127.0.0.1:0"), seconds=0)


def test_a_file_that_cannot_be_used_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        HeldAssertionKeys(AssertionOptions(assertion_key=tmp_path / "none"), seconds=0)
