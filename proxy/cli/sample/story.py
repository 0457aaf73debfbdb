# SPDX-License-Identifier: Apache-2.0
"""``sekisho sample story``: plays those scenes of the LINE story that begin in a network that this machine is in.

Where a scene begins is the address that the gateway sees: one URL of it for each network, such as compose networks.
"""

import argparse
from collections.abc import Mapping

import aiohttp

from proxy.cli.run import parse_pairs, run_loop
from proxy.cli.terminal import plain
from proxy.demo.calls import NETWORKS, TIMEOUT_SECONDS, Answered, call, fetch_token, list_scenes
from proxy.demo.story import Scene
from proxy.errors import UsageError
from proxy.model.problem import nearest


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("--issuer", required=True, metavar="URL", help="where `sekisho sample issuer` is")
    text = f"the gateway as it is reached from a network of the policies, repeated: {', '.join(NETWORKS.values())}"
    add("--at", action="append", required=True, metavar="NETWORK=URL", help=text)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Play; 1 if any outcome was not the expected one."""
    places = parse_pairs(options.at, "--at NETWORK=URL") or {}
    for name in places:
        if name not in NETWORKS.values():
            raise UsageError(f"--at: {name!r} is no network of the story{nearest(name, NETWORKS.values())}.")
    outcomes: list[bool] = []
    run_loop(_play(options.issuer, places, outcomes))
    return 0 if outcomes and all(outcomes) else 1


async def _play(issuer: str, places: Mapping[str, str], outcomes: list[bool]) -> None:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for network, scene in list_scenes(places):
            token = "" if scene.person is None else await fetch_token(session, issuer, scene.person.sub)
            method, _, target = scene.request.partition(" ")
            answer = await call(session, places[network] + target, method=method, token=token, body=scene.body)
            _tell(network, scene, answer)
            outcomes.append(answer.status == scene.status)
    print(f"{sum(outcomes)} of {len(outcomes)} outcomes are the expected ones.")


def _tell(network: str, scene: Scene, answer: Answered) -> None:
    who = "nobody" if scene.person is None else f"{scene.person.name} of {scene.person.affiliate}"
    verdict = f"{'ALLOW' if answer.status < 400 else 'DENY '} {answer.status}"
    expected = "" if answer.status == scene.status else f"  NOT AS EXPECTED: {scene.status} {scene.by}"
    told = f"{verdict}  {network:<13} {who:<25} {scene.request:<38} {answer.reason:<28} {answer.decision_id}"
    print(plain(f"{told.rstrip()}{expected}"), flush=True)
