# SPDX-License-Identifier: Apache-2.0
"""What a supervisor and a worker say arrives whole and in order, or the channel has ended."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxy.supervisor.channel import MAX_FRAME_BYTES, Channel, ChannelEndError, connect
from proxy.supervisor.messages import Accept, Commit, Done, Order, Prepare, Report


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[Channel[Any, Any], Channel[Any, Any]]]:
    ours, theirs = socket.socketpair()
    supervisor: Channel[Any, Any] = await connect(ours, Report)
    worker: Channel[Any, Any] = await connect(theirs, Order)
    try:
        yield supervisor, worker
    finally:
        await supervisor.close()
        await worker.close()


async def _slices(*values: bytes) -> AsyncIterator[bytes]:
    for each in values:
        yield each


async def test_messages_arrive_as_they_were_sent() -> None:
    async with pair() as (supervisor, worker):
        await supervisor.send(Commit(1))
        await supervisor.send(Accept(2, (0, 3)))
        await worker.send(Done(1, "no"))
        assert [await worker.receive(), await worker.receive()] == [Commit(1), Accept(2, (0, 3))]
        assert await supervisor.receive() == Done(1, "no")


async def test_no_message_comes_between_a_bundle_and_its_slices() -> None:
    async with pair() as (supervisor, worker):
        big = b"x" * 3_000_000

        async def send() -> None:
            await asyncio.gather(supervisor.send_with(Prepare(1, "d"), _slices(big, b"y")), supervisor.send(Commit(2)))

        sending = asyncio.ensure_future(send())
        assert await worker.receive() == Prepare(1, "d")
        assert [await worker.receive_slice() for _ in range(3)] == [big, b"y", b""]
        assert await worker.receive() == Commit(2)
        await sending


async def test_an_end_that_goes_is_noticed_by_whoever_waits() -> None:
    async with pair() as (supervisor, worker):
        waiting = asyncio.ensure_future(worker.receive())
        await asyncio.sleep(0)
        await supervisor.close()
        with pytest.raises(ChannelEndError):
            await waiting


BROKEN = {
    "a message of the other end's": b"\x00\x00\x00\x02m\x81",
    "a slice where a message is expected": b"\x00\x00\x00\x02sx",
    "a frame without a kind": b"\x00\x00\x00\x00",
    "a frame that is too long": (MAX_FRAME_BYTES + 1).to_bytes(4, "big"),
    "half a frame": b"\x00\x00\x00\x09m",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
async def test_what_cannot_be_read_ends_the_channel(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        worker: Channel[Any, Any] = await connect(theirs, Order)
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(ChannelEndError):
            await worker.receive()
        await worker.close()
