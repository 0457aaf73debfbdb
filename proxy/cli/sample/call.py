# SPDX-License-Identifier: Apache-2.0
"""``sekisho sample call URL``: one request, for images that have no curl, and whose callers need tokens."""

import argparse
import asyncio

import aiohttp

from proxy.cli.terminal import plain
from proxy.demo.calls import TIMEOUT_SECONDS, Answered, call, fetch_token
from proxy.demo.story import PEOPLE
from proxy.errors import FetchError, UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("url", metavar="URL", help="what to ask for")
    add("--as", dest="person", choices=sorted(PEOPLE), metavar="NAME", help=f"whose token: {', '.join(sorted(PEOPLE))}")
    add("--issuer", metavar="URL", help="where `sekisho sample issuer` is")
    add("--method", default="GET", metavar="METHOD", help="(GET)")
    add("--data", metavar="JSON", help="the body")
    add(
        "--seconds",
        type=float,
        default=TIMEOUT_SECONDS,
        metavar="N",
        help=f"how long it may take ({TIMEOUT_SECONDS:g})",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask; 1 if the answer is a refusal, or if there is none."""
    if (options.person is None) != (options.issuer is None):
        raise UsageError("--as NAME and --issuer URL belong together: a token is somebody's, and from somewhere.")
    return asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> int:
    try:
        answer = await _call(options)
    except FetchError as error:
        print(plain(f"{error}."))
        return 1
    print(f"{answer.status} {answer.decision_id}".rstrip())
    print(plain(answer.body.decode("utf-8", "replace"), keep_newlines=True))
    return 0 if answer.status < 400 else 1


async def _call(options: argparse.Namespace) -> Answered:
    timeout = aiohttp.ClientTimeout(total=options.seconds)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        token = "" if options.person is None else await fetch_token(session, options.issuer, options.person)
        return await call(session, options.url, method=options.method, token=token, body=options.data)
