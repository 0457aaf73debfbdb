# SPDX-License-Identifier: Apache-2.0
"""All workers put one bundle in force, or none does.

1. Each takes it over, comes to the digest that it must, has the keys of its issuers, and says so. One that cannot, or
   dies over it, or says nothing in time: none of them puts it in force.
2. Then all are told at once to put it in force. Should one not be able to, or die, it is ended: whoever is started in
   its place begins with what is in force. Only where none of them could (the ledger's disk is full), it is refused.

Emergency denies are an exception to the first step: they must not be held up by one worker that is in trouble. Those
that cannot take them over are ended instead.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

import msgspec

from proxy.bundle.snapshot import Snapshot
from proxy.errors import SekishoError


class WorkerError(SekishoError):
    """A worker did not do what it was asked for; the message says which, and why."""


class Offer(msgspec.Struct, frozen=True):
    """A bundle for workers."""

    id: int
    """Tells one offer from another."""
    snapshot: Snapshot
    is_urgent: bool = False
    """Whether emergency denies alone have changed."""


class Swapping(Protocol):
    """A worker, as far as bundles are concerned. Every method raises ``WorkerError`` where it is not done."""

    async def prepare(self, offer: Offer) -> None:
        """Take it over."""

    async def commit(self, offer: Offer) -> None:
        """Put it in force."""

    async def abort(self, offer: Offer) -> None:
        """Forget it."""

    def kill(self) -> None:
        """End it at once."""


async def swap(workers: Sequence[Swapping], offer: Offer) -> None:
    """Have workers put a bundle in force.

    Raises:
        WorkerError: none of them does; all are as they were.
    """
    refusals = await _ask_all([each.prepare(offer) for each in workers])
    able = [each for each, refusal in zip(workers, refusals, strict=True) if refusal is None]
    why = [refusal for refusal in refusals if refusal is not None]
    if why and not (offer.is_urgent and able):
        await _ask_all([each.abort(offer) for each in able])
        raise WorkerError("; ".join(map(str, why)))
    failures = await _ask_all([each.commit(offer) for each in able])
    if able and None not in failures:
        raise WorkerError("; ".join(map(str, failures)))
    behind = [each for each, refusal in zip(workers, refusals, strict=True) if refusal is not None]
    behind += [each for each, failure in zip(able, failures, strict=True) if failure is not None]
    for each in behind:
        each.kill()


async def _ask_all(asked: Sequence[Awaitable[None]]) -> list[WorkerError | None]:
    """Wait for all of them; return for each what it could not do."""
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for each in answers:
        if isinstance(each, BaseException) and not isinstance(each, WorkerError):
            raise each
    return [each if isinstance(each, WorkerError) else None for each in answers]
