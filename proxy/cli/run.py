# SPDX-License-Identifier: Apache-2.0
"""``sekisho run``: serves callers until it is told to stop. Every flag is also a setting, ``SEKISHO_…``."""

import argparse
import asyncio
import contextlib
import gc
import logging
import resource
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

import uvloop

from proxy.clock import render_instant, unix_seconds
from proxy.errors import UsageError
from proxy.lifecycle.reload import Reloader
from proxy.model.origin import ClientAddress
from proxy.oplog import configure_log
from proxy.running import Running
from proxy.settings import Settings, read_settings
from proxy.supervisor.run import Supervising, run_workers
from proxy.systemd import Manager, find_manager
from proxy.wiring import run_gateway

EARLIEST_SECONDS: Final = 1_767_225_600.0
"""2026-01-01T00:00:00Z: a clock that says less was never set."""
SPARE_FILES: Final = 256
"""Open files beside those of callers and of requests to APIs: the ledger, issuers, operators, libraries."""

log = logging.getLogger("sekisho")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = (
        "Every flag is also a setting, SEKISHO_LISTEN and so on; docs/settings.md lists those without a flag."
    )
    add = parser.add_argument
    add("--policies", type=Path, metavar="DIR", help="the policy folder (policies)")
    add("--listen", metavar="HOST:PORT", help="where callers are served (127.0.0.1:8080)")
    add("--workers", type=int, metavar="N", help="how many processes serve callers (1)")
    add("--admin", metavar="HOST:PORT", help="where probes and metrics are (127.0.0.1:9090)")
    add("--ledger", type=Path, metavar="DIR", help="the folder of the ledger, or - for standard output (ledger)")
    add("--ledger-witness", action="append", metavar="PLACE", help="a folder or URL that also keeps checkpoints")
    add("--ledger-key", type=Path, metavar="FILE", help="the key that signs the ledger")
    text = "what a line is before anything leaves: in the kernel, or on disk (written)"
    add("--ledger-durability", choices=["written", "synced"], help=text)
    add("--pseudonym-key", type=Path, metavar="FILE", help="the keys under which people are recorded")
    add(
        "--geoip",
        type=Path,
        metavar="FILE",
        help="a MaxMind-format country database, instead of registry data",
    )
    add("--geoip-asn", type=Path, metavar="FILE", help="a MaxMind-format database of autonomous systems")
    add("--geoip-anonymous", type=Path, metavar="FILE", help="a MaxMind-format database of anonymous networks")
    add("--geoip-max-age-days", type=int, metavar="DAYS", help="how old a database may be (any age)")
    add(
        "--client-address",
        choices=[place.value for place in ClientAddress],
        help="where trusted proxies say whose request they pass on (x-forwarded-for)",
    )
    add("--upstream", action="append", metavar="API=URL", help="where an API is; API/CC=URL: for a country")
    add("--jwks", action="append", metavar="ISSUER=URL", help="where its keys are, or file:PATH in the policy folder")
    add("--lookup", action="append", metavar="LOOKUP=URL", help="where this deployment finds a lookup")
    add("--tls-certificate", type=Path, metavar="FILE", help="PEM: callers speak TLS, and this is who we are")
    add("--tls-key", type=Path, metavar="FILE", help="PEM: the key of that certificate")
    add("--tls-client", choices=["off", "optional", "required"], help="ask callers for certificates (off)")
    add("--client-certificate", choices=["tls", "xfcc"], help="its connection, or X-Forwarded-Client-Cert (tls)")
    add("--tell", choices=["reason", "rule"], help="what a refused caller is told (reason)")
    add("--log-level", choices=["debug", "info", "warning", "error"], help="of the log on stderr (info)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    settings = read_settings(
        policies=options.policies,
        listen=options.listen,
        workers=options.workers,
        admin=options.admin,
        ledger=options.ledger,
        ledger_witness=options.ledger_witness,
        ledger_key=options.ledger_key,
        ledger_durability=options.ledger_durability,
        pseudonym_key=options.pseudonym_key,
        geoip=options.geoip,
        geoip_asn=options.geoip_asn,
        geoip_anonymous=options.geoip_anonymous,
        geoip_max_age_days=options.geoip_max_age_days,
        client_address=options.client_address,
        upstream=parse_pairs(options.upstream, "--upstream API=URL"),
        jwks=parse_pairs(options.jwks, "--jwks ISSUER=URL"),
        lookup=parse_pairs(options.lookup, "--lookup LOOKUP=URL"),
        tls_certificate=options.tls_certificate,
        tls_key=options.tls_key,
        tls_client=options.tls_client,
        client_certificate=options.client_certificate,
        tell=options.tell,
        log_level=options.log_level,
    )
    configure_log(settings.log_level)
    _check_clock()
    _allow_open_files(settings)
    run_loop(serve(settings, find_manager()))
    return 0


def _check_clock() -> None:
    """Refuse to decide by a clock that was never set.

    Raises:
        UsageError: it says a time before this program was written.
    """
    now = unix_seconds()
    if now < EARLIEST_SECONDS:
        raise UsageError(
            f"The clock says {render_instant(now)}: tokens, grants and certificates cannot be judged by it. Set it, or "
            "wait until it is synchronised."
        )


def _allow_open_files(settings: Settings) -> None:
    """Let this process, and workers, have as many files open as connections and requests are allowed; warn of fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = settings.max_connections, settings.max_requests
    wanted = sum(limits) + SPARE_FILES if all(limits) else hard
    if soft == resource.RLIM_INFINITY or 0 <= wanted <= soft:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning(
            "%d files may be open, and SEKISHO_MAX_CONNECTIONS and SEKISHO_MAX_REQUESTS allow for %d: raise "
            "LimitNOFILE or ulimit -n, or lower them",
            allowed,
            wanted,
        )


def parse_pairs(pairs: list[str] | None, form: str) -> dict[str, str] | None:
    """Return what ``NAME=VALUE`` flags say.

    Raises:
        UsageError: one of them is no such pair.
    """
    if pairs is None:
        return None
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals or not value:
            raise UsageError(f"{pair!r} is not of the form {form}.")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def run_loop(coroutine: Any) -> None:
    """Run a coroutine on uvloop, the fastest event loop there is."""
    uvloop.run(coroutine)


async def serve(settings: Settings, manager: Manager) -> None:
    """Serve until a signal says stop, and have the service manager know how it goes."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    wishes = _Wishes()  # before it is ready, too: the default would end the process
    async with _meanwhile(manager.beat()):
        await _serve_until(stop, wishes, settings, manager)


class _Wishes:
    """What signals ask for; those that come before anything can be done about them are not forgotten."""

    def __init__(self) -> None:
        self._answers: Mapping[signal.Signals, Callable[[], None]] | None = None
        self._heard = set[signal.Signals]()
        for number in (signal.SIGHUP, signal.SIGUSR2):
            asyncio.get_running_loop().add_signal_handler(number, self._hear, number)

    def answer(self, answers: Mapping[signal.Signals, Callable[[], None]]) -> None:
        """Do from now on what they ask for, and what those asked for that have come before."""
        self._answers = answers
        for number in self._heard:
            self._hear(number)

    def _hear(self, number: signal.Signals) -> None:
        if self._answers is None:
            self._heard.add(number)
        elif number in self._answers:
            self._answers[number]()


async def _serve_until(stop: asyncio.Event, wishes: _Wishes, settings: Settings, manager: Manager) -> None:
    """Serve until told to stop, which may be before everything that is needed to start could be had.

    Args:
        stop: is set when it is to stop.
        wishes: what other signals ask for.
        settings: of the deployment.
        manager: is told once callers are served, what they are served by, and when that ends.
    """
    async with contextlib.AsyncExitStack() as stack:
        running_: contextlib.AbstractAsyncContextManager[Running | Supervising] = (
            run_gateway(settings) if settings.workers == 1 else run_workers(settings)
        )
        starting = asyncio.ensure_future(stack.enter_async_context(running_))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            manager.tell_stopping()
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            return
        running = await starting
        gc.collect()
        gc.freeze()  # what a gateway is made of stays: no collection looks at it again
        if running.reloader is not None:  # it is a worker's alone that lacks one
            await stack.enter_async_context(_meanwhile(_follow(running.listen, running.reloader, manager)))
        wishes.answer(_find_answers(running, manager))
        await stopping
        manager.tell_stopping()


async def _follow(listen: str, reloader: Reloader, manager: Manager) -> None:
    """Tell that callers are served, and by what, now and whenever the policy folder was tried again."""
    while True:
        manager.tell_ready(f"callers are served on {listen}: {reloader.render_standing()}")
        await reloader.wait_until_tried()


def _find_answers(running: Running | Supervising, manager: Manager) -> Mapping[signal.Signals, Callable[[], None]]:
    """Return what is done about which signal; about others, nothing."""

    def reload() -> None:
        manager.tell_reloading()
        running.reload()

    rolls = {signal.SIGUSR2: running.roll} if isinstance(running, Supervising) else {}
    return {signal.SIGHUP: reload, **rolls}


@contextlib.asynccontextmanager
async def _meanwhile(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something until the end of the block; it has begun when the block does."""
    task = asyncio.ensure_future(coroutine)
    try:
        await asyncio.sleep(0)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
