# SPDX-License-Identifier: Apache-2.0
"""Hot reload: a changed policy folder is put in force while requests are served, or it is not, and that is told.

- The folder is looked at; once it has changed and stands still, a child process loads it, checks it and runs its
  tests. What it hands over is taken in slices, and put in force in one step.
- Whatever goes wrong, the last good bundle stays in force, with the reason in the log, a metric and the readiness
  detail, and the folder is tried again when it changes.
- A folder whose registers have dates is loaded again, though unchanged, when the last epoch begins for which they
  were computed: so that the one after it is there in time.
- Emergency denies wait for none of that: they are put in force as soon as they are read, in the words of the bundle
  that is in force, and once more in those of the new one.
"""

import asyncio
import contextlib
import gc
import logging
import math
import sys
import weakref
from asyncio.subprocess import Process, SubprocessStreamProtocol
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from proxy.bundle.emergency import Urgent, compile_urgent, keep_broken, write_files
from proxy.bundle.snapshot import Snapshot
from proxy.clock import unix_seconds
from proxy.errors import BundleError, SekishoError
from proxy.lifecycle.candidate import LENGTH_BYTES, Failure, Job
from proxy.lifecycle.options import LifecycleOptions
from proxy.lifecycle.takeover import Assembly
from proxy.lifecycle.watch import take_fingerprint
from proxy.origin.options import OriginOptions
from proxy.pause import Pause
from proxy.policy.policy import Policy
from proxy.policy.rules import Rule
from proxy.telemetry import Metrics

MAX_SLICE_BYTES: Final = 64 * 1024 * 1024
MAX_BUFFERED: Final = 64 * 1024
SETTLE_SECONDS: Final = 0.2
"""How long a changed folder must have stood still: copying many files takes a moment."""
MAX_SETTLING: Final = 50
"""Looks at a folder that never stands still, before it is tried as it is."""

RETRY_SECONDS: Final = 1.0
"""How soon a folder that is not to blame is tried again; doubled each time."""
MAX_RETRY_SECONDS: Final = 60.0
LONGEST_PAUSE_SECONDS: Final = 3600.0
"""Between two looks at the clock for dates that come: the wall clock may be set."""
RELEASE_SECONDS: Final = 0.5
RELEASED_AT_ONCE: Final = 128
"""Rules that are let go of before others are served: freeing ten thousand in one go takes a while."""

log = logging.getLogger("sekisho.reload")

Adopt = Callable[[Snapshot], Awaitable[None]]


class Reloader:
    """Watches one policy folder for one process.

    Args:
        folder: the policy folder.
        tried: the fingerprint of the folder, taken before what is in force was read from it.
        upstreams: where this deployment finds APIs, as for ``load_bundle``.
        origin: the geolocation that tests are run with; the built-in one by default.
        registers_folder: where large registers become files.
        options: how often, how long.
        metrics: counted are attempts, by result.
        in_force: returns the snapshot in force.
        adopt: puts a snapshot in force; an error it raises leaves the old one there.
        renew: reads again what lies in the folder beside the registers: keys.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tried: str,
        upstreams: dict[str, str],
        origin: OriginOptions | None = None,
        registers_folder: Path | None = None,
        options: LifecycleOptions,
        metrics: Metrics,
        in_force: Callable[[], Snapshot],
        adopt: Adopt,
        renew: Callable[[], Awaitable[None]],
    ) -> None:
        self._folder = folder
        paths = (origin or OriginOptions()).model_dump(include={"geoip", "geoip_asn", "geoip_anonymous"}, mode="json")
        self._job = Job(
            str(folder),
            upstreams,
            megabytes=options.reload_megabytes,
            registers=None if registers_folder is None else str(registers_folder),
            **paths,
        )
        self._options = options
        self._metrics = metrics
        self._in_force = in_force
        self._adopt = adopt
        self._renew = renew
        self._pause = Pause()
        self._until_tried = Pause()
        self._tried = tried
        self._is_poked = False
        self._retry_at = math.inf
        self._renewed_for = -math.inf
        self._owes_cut_off = False
        self._retry_seconds = RETRY_SECONDS
        self._releasing: asyncio.Future[None] | None = None
        self.stale: tuple[str, ...] = ()
        """Why the folder as it lies there is not in force; empty while it is."""

    def poke(self) -> None:
        """Look now, and try the folder even if it has not changed (``SIGHUP``)."""
        self._is_poked = True
        self._pause.end()

    async def wait_until_tried(self) -> None:
        """Wait until the folder has been tried once more, and nobody has asked for yet another try meanwhile."""
        await self._until_tried.wait(None)

    def render_standing(self) -> str:
        """Return in one line what is in force, and whether that is what lies in the folder."""
        snapshot = self._in_force()
        line = f"bundle {snapshot.name}, policy {snapshot.policy_digest}"
        return f"{line}; the folder as it lies there is not in force: see the log" if self.stale else line

    async def watch(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._pause.wait(self._find_pause())
            try:
                await self._look()
            except Exception:  # the watch must outlive whatever a folder does
                log.exception("the policy folder could not be looked at")

    def _find_pause(self) -> float | None:
        """Return how long to wait before the next look; None: until told, and nothing is to be tried again."""
        if self._options.watch_seconds:
            return self._options.watch_seconds
        if not self._tried:
            return SETTLE_SECONDS
        due = self._in_force().affiliates.renew_at
        ageing = due - unix_seconds() if due > self._renewed_for else math.inf
        left = min(self._retry_at - asyncio.get_running_loop().time(), ageing)
        return min(max(0.0, left), LONGEST_PAUSE_SECONDS) if math.isfinite(left) else None

    def _is_due(self) -> bool:
        """Say whether a date has come for which the folder is to be loaded again; it is tried once for each."""
        due = self._in_force().affiliates.renew_at
        return self._renewed_for < due <= unix_seconds()

    async def _look(self) -> None:
        before = await asyncio.to_thread(take_fingerprint, self._folder)
        now = asyncio.get_running_loop().time()
        is_due = self._is_due()
        if before == self._tried and not self._is_poked and now < self._retry_at and not is_due:
            return
        self._is_poked = False
        if is_due:
            self._renewed_for = self._in_force().affiliates.renew_at
        try:
            await self._settle(before)
            await self.try_folder()
        finally:
            if not self._is_poked:
                self._until_tried.end()

    async def _settle(self, before: str) -> None:
        """Wait until the folder stands still, but not for ever."""
        for _ in range(MAX_SETTLING):
            await asyncio.sleep(SETTLE_SECONDS)
            after = await asyncio.to_thread(take_fingerprint, self._folder)
            if after == before:
                return
            before = after

    def _retry(self, *, later: bool) -> None:
        """Say whether the folder is to be tried again although it has not changed."""
        self._retry_at = asyncio.get_running_loop().time() + self._retry_seconds if later else math.inf
        self._retry_seconds = min(2 * self._retry_seconds, MAX_RETRY_SECONDS) if later else RETRY_SECONDS

    async def try_folder(self) -> None:
        """Load the folder and put it in force, or say why not.

        What changed while it was read may be half of one state and half of another: it is read again.
        """
        self._tried = await asyncio.to_thread(take_fingerprint, self._folder)
        is_to_blame = True
        self._owes_cut_off = False
        problems: list[str] = []
        result = "unchanged"
        try:
            async with asyncio.timeout(self._options.reload_seconds):
                loaded = await self._load(problems)
        except TimeoutError:
            loaded = Failure((f"loading took more than {self._options.reload_seconds:g} seconds",))
            is_to_blame = False
        except Exception as error:  # whatever it is, the last good bundle stays, and somebody is told
            log.exception("the policy folder could not be loaded")
            loaded = Failure((f"the loading process gave no result: {type(error).__name__}: {error}",))
            is_to_blame = False
        if isinstance(loaded, Snapshot) and self._tried != await asyncio.to_thread(take_fingerprint, self._folder):
            loaded = Failure(("the folder changed while it was read: it is read again",))
            self._tried = ""
        if isinstance(loaded, Snapshot):
            try:
                result = await self._put_in_force(loaded)
                problems.clear()  # the child has read the emergency denies in the words of this bundle
            except SekishoError as error:
                loaded = Failure((str(error),))
                is_to_blame = False
        self._retry(later=not is_to_blame or self._owes_cut_off)
        reasons = (*problems, *(loaded.reasons if isinstance(loaded, Failure) else ()))
        self._note("failed" if reasons else result, reasons)

    def _note(self, result: str, reasons: tuple[str, ...]) -> None:
        self.stale = reasons
        self._metrics.reloads.count(result)
        self._metrics.bundle_stale.set(1 if reasons else 0)
        if reasons:
            log.error(
                "the policy folder is not in force as it lies there: the last good one is",
                extra={"error": "\n".join(reasons), "policy": self._in_force().policy_digest},
            )
        elif result != "unchanged":
            snapshot = self._in_force()
            log.info("policy in force", extra={"bundle": snapshot.name, "policy": snapshot.policy_digest})

    async def _load(self, problems: list[str]) -> Snapshot | Failure:
        """Let a child load the folder; what it says of emergency denies is acted on at once."""
        assembly = Assembly()
        try:
            async with contextlib.aclosing(self._slices()) as slices:
                async for data in slices:
                    value = assembly.take(data)
                    if isinstance(value, Failure):
                        return value
                    if isinstance(value, Urgent):
                        problems += await self._cut_off(value)
                    elif gc.isenabled():
                        gc.collect(1)
                        gc.disable()  # a collection of the whole heap would hold requests up; what stays is frozen
                    await asyncio.sleep(0)
            if assembly.snapshot is None:
                raise EOFError("no result")
            return assembly.snapshot
        finally:
            if not gc.isenabled():
                gc.freeze()
                gc.enable()

    async def _slices(self) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            lambda: SubprocessStreamProtocol(MAX_BUFFERED, loop),
            sys.executable,
            "-P",
            "-c",
            "from proxy.lifecycle.candidate import serve_parent; serve_parent()",
            stderr=asyncio.subprocess.DEVNULL,
        )
        child = Process(transport, protocol, loop)
        try:
            if child.stdin is None or child.stdout is None:
                raise EOFError("no pipe")
            child.stdin.write(msgspec.json.encode(self._job))
            child.stdin.close()
            while True:
                try:
                    length = int.from_bytes(await child.stdout.readexactly(LENGTH_BYTES), "big")
                except asyncio.IncompleteReadError:
                    break
                if length > MAX_SLICE_BYTES:
                    raise EOFError("a slice is too long")
                yield await child.stdout.readexactly(length)
            await child.wait()
        finally:
            transport.close()  # ends the child, unless it has ended: nobody waits for its result any more
            await _reap(child)

    async def _cut_off(self, urgent: Urgent) -> list[str]:
        """Put emergency denies in force, in the words of the bundle in force; return what is wrong with the rest."""
        snapshot = self._in_force()
        by_file, problems = compile_urgent(urgent, snapshot.vocabulary)
        kept = keep_broken(by_file, snapshot.urgent, problems)
        files = write_files(urgent, kept, snapshot.urgent_files, snapshot.vocabulary, is_whole=not problems)
        changed = snapshot.with_urgent(kept, files)
        if changed.policy_digest != snapshot.policy_digest or _by_file(kept) != _by_file(snapshot.urgent):
            try:
                await self._adopt(changed)
            except SekishoError as error:
                self._owes_cut_off = True
                return [str(error), *map(str, problems)]
            log.warning(
                "emergency denies in force",
                extra={"error": ", ".join(sorted(rule.id for rule in changed.urgent_rules))},
            )
        return [str(problem) for problem in problems]

    async def _put_in_force(self, snapshot: Snapshot) -> str:
        """Adopt a snapshot, unless it is the one in force."""
        now = self._in_force()
        same = (snapshot.policy_digest, snapshot.registers_digest, snapshot.name)
        covers = snapshot.affiliates.covered_until == now.affiliates.covered_until
        if same == (now.policy_digest, now.registers_digest, now.name) and covers:
            await self._renew()
            return "unchanged"
        release = retire(now)
        await self._adopt(snapshot)
        del now
        self._releasing = release()
        return "loaded"


async def _reap(child: Process) -> None:
    """Wait for a child that is ended, also where the wait itself is cancelled: it is short, and leaves no zombie."""
    waiting = asyncio.ensure_future(child.wait())
    try:
        await asyncio.shield(waiting)
    except asyncio.CancelledError:
        await waiting
        raise


def retire(snapshot: Snapshot) -> Callable[[], asyncio.Future[None]]:
    """Take note of what a bundle is made of that will be in force no more.

    Returns:
        What begins to let go of it, in slices, once another one is in force.
    """
    parts = [
        *snapshot.policy.rules,
        *(affiliation for register in snapshot.affiliates.epochs for affiliation in _in_memory(register.by_id)),
    ]
    retired = weakref.ref(snapshot.policy)
    return lambda: asyncio.ensure_future(_release(retired, parts))


def _in_memory(by_id: Mapping[str, Any]) -> list[Any]:
    """Return what a register keeps in memory; one that is kept in a file keeps nothing to speak of."""
    return list(by_id.values()) if isinstance(by_id, dict) else []


def _by_file(urgent: Mapping[str, Sequence[Rule]]) -> dict[str, list[str]]:
    """Return which rules stand in which file: what a broken file said before is found by its name."""
    return {file: sorted(rule.id for rule in rules) for file, rules in urgent.items()}


async def _release(retired: weakref.ref[Policy], parts: list[Any]) -> None:
    """Let go of what a retired bundle was made of, in slices, once the last request that it judged has ended."""
    while retired() is not None:  # noqa: ASYNC110 - nobody tells of a value's end
        await asyncio.sleep(RELEASE_SECONDS)
    while parts:
        del parts[-RELEASED_AT_ONCE:]
        await asyncio.sleep(0)


def refuse_failing(snapshot: Snapshot, failed: tuple[str, ...]) -> None:
    """Refuse to start with a bundle whose own tests fail: it would not be put in force by a reload either.

    Raises:
        BundleError: with every test that fails.
    """
    if failed:
        raise BundleError([f"{snapshot.folder}: {each}" for each in failed])
