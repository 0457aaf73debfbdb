# SPDX-License-Identifier: Apache-2.0
"""``sekisho demo``: plays the LINE story through a real gateway, and shows what was decided and why."""

import argparse
import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.cli import main
from proxy.cli.run import run_loop
from proxy.demo.drawing import draw_view
from proxy.demo.evidence import change_one_byte
from proxy.demo.serving import wait_for_signal
from proxy.demo.stage import REFERENCE_BUNDLE, Stage, run_stage
from proxy.demo.story import DIRECTORY_DOWN, JP_USER, OFFICE, SATO, SHANGHAI, TAIPEI, TAIWAN, TOKYO_VPN, Played
from proxy.demo.views import SEARCH, Viewed
from proxy.model.caller import Tie, TieKind
from proxy.model.country import NAMES
from proxy.model.decision import Reason
from proxy.oplog import configure_log
from proxy.pipeline.answers import ANSWERS

MIN_WIDTH: Final = 128
"""Columns that the table needs to be a pleasure; where output is no terminal it takes them."""
TAIL_LINES: Final = 3
OF_CONTENT: Final = ("time", "id", "effect", "rule", "route", "subject", "content", "status", "complete", "bytes")
"""Members of a decision's line that tell what left, and by which rule."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--policies", type=Path, default=REFERENCE_BUNDLE, help="the policy folder to play with")
    parser.add_argument("--stay", action="store_true", help="keep everything running, with tokens for curl")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Play the story; 1 if any outcome was not the expected one."""
    configure_log("error")
    outcomes: list[bool] = []
    run_loop(_play(options, outcomes))
    return 0 if outcomes and all(outcomes) else 1


async def _play(options: argparse.Namespace, outcomes: list[bool]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = MIN_WIDTH
    async with run_stage(options.policies) as stage:
        played = await stage.play_all()
        outcomes += [each.as_expected for each in played]
        console.print(_draw_story(played, stage))
        _tell_outcome(console, played)
        viewed = await stage.view_all()
        outcomes += [each.as_expected for each in viewed]
        _show_views(console, viewed)
        if not options.stay:  # there, all of it goes on
            outcomes += await _show_directory_down(console, stage)
        _show_ledger(console, stage)
        await _show_metrics(console, stage)
        if options.stay:
            _show_next(console, stage, stay=True)
            await wait_for_signal()
            return
        await stage.stop()
        outcomes += _show_evidence(console, stage, played)
        _show_next(console, stage, stay=False)


def _draw_story(played: Sequence[Played], stage: Stage) -> Table:
    table = Table(title="Who may read whose records, from where: the LINE case of 2021", show_lines=True, expand=True)
    table.add_column("#", width=2, justify="right")
    for name, ratio in (("who asks", 13), ("from", 6), ("asks for", 8)):
        table.add_column(name, ratio=ratio, overflow="fold")
    table.add_column("answer", width=9)
    table.add_column("by which rule, and why", ratio=13, overflow="fold")
    titles = {rule.id: rule.title for rule in (*stage.snapshot.policy.denies, *stage.snapshot.policy.allows)}
    for number, each in enumerate(played, 1):
        table.add_row(str(number), _who(each, stage), _where(each), _what(each), _answer(each), _why(each, titles))
    return table


def _who(each: Played, stage: Stage) -> Text:
    person = each.scene.person
    affiliation = stage.snapshot.affiliates.current.by_id.get(each.record.get("caller", {}).get("affiliate", ""))
    if affiliation is None:
        said = f"{person.name}, says {person.affiliate}" if person else "nobody"
        told = "nobody knows whose that is" if each.record.get("rule") else "not verified"
        return Text.assemble((each.scene.title, "bold"), f"\n{said}: {told}")
    name = person.name if person else "somebody"
    lines = [f"{name}, {affiliation.name} ({affiliation.country})", *_behind(affiliation.ties)]
    return Text.assemble((each.scene.title, "bold"), "\n", "\n".join(lines))


def _behind(ties: Sequence[Tie]) -> list[str]:
    """Say who owns an affiliate and for whom it works: the longest chain of each, from the registers."""
    lines = []
    for kind, verb in ((TieKind.CONTROL, "owned by"), (TieKind.PRINCIPAL, "works for")):
        chains = [tie for tie in ties if tie.kind is kind]
        if chains:
            longest = max(chains, key=lambda tie: len(tie.path))
            lines.append(f"{verb} {' ← '.join(longest.path[1:])} ({longest.country})")
    return lines


def _where(each: Played) -> Text:
    origin = each.record.get("origin", {})
    network = origin.get("network", "absent")
    place = network if origin.get("source") == "network" else NAMES.get(origin.get("country", ""), "nowhere known")
    spoofed = f"\n(wrote {each.scene.forwarded_for.split(',')[0]})" if "," in each.scene.forwarded_for else ""
    return Text(f"{origin.get('ip', '?')}\n→ {origin.get('country', '?')}, {place}{spoofed}")


def _what(each: Played) -> Text:
    country = each.record.get("subject", {}).get("country", "unknown")
    return Text(each.scene.request + (f"\na user of {NAMES[country]}" if country in NAMES else ""))


def _answer(each: Played) -> Text:
    allowed = each.status < 400
    text = Text(f"{'ALLOW' if allowed else 'DENY'} {each.status}", style="bold green" if allowed else "bold red")
    return (
        text
        if each.as_expected
        else text.append(f"\nNOT AS EXPECTED: {each.scene.status} {each.scene.by}", "bold yellow")
    )


def _why(each: Played, titles: Mapping[str, str]) -> Text:
    rule, reason = each.by, str(each.record.get("reason", "no record"))
    if rule == reason or not each.record:
        return Text.assemble((reason, "bold"), f"\n{ANSWERS[Reason(reason)].title}" if reason in set(Reason) else "")
    if rule == "default":
        return Text.assemble((reason, "bold"), "\nWithout a rule that allows it, it is denied")
    applied: Mapping[str, Any] = next((each for each in each.record.get("rules", ()) if each["id"] == rule), {})
    unknown = ", ".join(applied.get("unknown", ()))
    return Text.assemble((rule, "bold"), f"\n{titles[rule]}", f"\n(not known: {unknown})" if unknown else "")


def _tell_outcome(console: Console, played: Sequence[Played]) -> None:
    wrong = [str(number) for number, each in enumerate(played, 1) if not each.as_expected]
    if wrong:
        console.print(f"[bold yellow]Not as expected: {', '.join(wrong)}")
    else:
        console.print(f"All {len(played)} outcomes are the expected ones, each with its record in the ledger.")
    console.print(
        "Countries of public addresses are those of the registrant (registry data), not of a GeoIP database.\n"
    )


def _show_views(console: Console, viewed: Sequence[Viewed]) -> None:
    console.print("[bold]What may leave: answers that hold many people's records[/bold]\n")
    for each in viewed:
        console.print(draw_view(each))
    first = viewed[0]
    console.print("[bold]The ledger's line of the first[/bold], in part: people and records are counted, not quoted")
    _show_line(console, {name: value for name, value in first.played.record.items() if name in OF_CONTENT})
    console.print()


async def _show_directory_down(console: Console, stage: Stage) -> list[bool]:
    """End the directory, and show what is decided without it."""
    await stage.stop_directory()
    played = await stage.play_all(DIRECTORY_DOWN)
    console.print("[bold]The directory is killed[/bold]: what it said is used while it is fresh, nothing is guessed")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for name in ("who asks", "asks for", "answer", "why", "body"):
        table.add_column(name, overflow="fold")
    for each in played:
        leaves = f"{len(each.body)} bytes of the record" if each.status == HTTPStatus.OK else _name_members(each.body)
        table.add_row(each.scene.title, each.scene.request, _answer(each), each.by, leaves)
    console.print(table)
    console.print()
    return [each.as_expected for each in played]


def _name_members(body: bytes) -> str:
    """Say what a problem document holds."""
    return f"a problem: {', '.join(json.loads(body))}"


def _show_ledger(console: Console, stage: Stage) -> None:
    lines = [record for record in stage.records() if record["line"] == "decision"][-TAIL_LINES:]
    console.print(
        f"[bold]The ledger's last {len(lines)} decisions[/bold] (people are pseudonyms; no path, token or body):"
    )
    for record in lines:
        _show_line(console, record)
    console.print()


def _show_line(console: Console, record: Mapping[str, Any]) -> None:
    console.print(Text(json.dumps(record, ensure_ascii=False)), style="dim", soft_wrap=True)


async def _show_metrics(console: Console, stage: Stage) -> None:
    console.print("[bold]Denials by caller, origin and subject[/bold], from /metrics:")
    for line in await stage.read_metrics():
        if line.startswith("sekisho_denials_total{"):
            console.print(Text(line), style="dim", soft_wrap=True)
    console.print()


def _show_evidence(console: Console, stage: Stage, played: Sequence[Played]) -> Iterator[bool]:
    """Verify the ledger that the gateway has left, prove one denial, and change one byte of a copy.

    Yields:
        Whether each came out as it must.
    """
    console.print(
        "[bold]The ledger as evidence[/bold], now that the gateway has stopped; the folder goes with the demo:"
    )
    denied = next(each.record["id"] for each in played if each.status == HTTPStatus.FORBIDDEN and "id" in each.record)
    proof, copy = stage.ledger.with_name("denial.tlog-proof"), stage.ledger.with_name("copy")
    key = ("--key", str(stage.verifier))
    yield _call(console, "verify", str(stage.ledger), *key) == 0
    console.print("\n[bold]One denial[/bold], handed to a regulator without the rest:")
    yield _call(console, "prove", str(stage.ledger), denied, *key, "--out", str(proof)) == 0
    yield _call(console, "check-proof", str(proof), *key) == 0
    changed = change_one_byte(stage.ledger, copy, denied)
    console.print(f"\n[bold]One byte of a copy is changed[/bold], {changed}:")
    yield _call(console, "verify", str(copy), *key) == 1
    console.print()


def _call(console: Console, verb: str, *arguments: str) -> int:
    """Show a command of the ledger as it is typed, and run it."""
    console.print(Text(f"$ sekisho ledger {verb} {' '.join(arguments)}"), soft_wrap=True, style="dim")
    with contextlib.redirect_stderr(sys.stdout):
        return main(["ledger", verb, *arguments])


def _show_next(console: Console, stage: Stage, *, stay: bool) -> None:
    console.print("[bold]What to try next[/bold]")
    if not stay:
        command, folder = _command(), _folder(stage)
        for verb, what in (
            ("demo --stay", "keeps this running, and prints curl lines with tokens"),
            (f"explain {folder} 'a Shanghai engineer'", "shows one decision rule by rule"),
            (f"check {folder}", "after an edit of rules/deny.yaml in it"),
        ):
            console.print(Text(f"  {command} {verb}    # {what}"), soft_wrap=True)
        return
    for title, person, address, request in (
        ("allowed", SATO, OFFICE, JP_USER),
        ("denied", SHANGHAI, TOKYO_VPN, JP_USER),
        ("without the Japanese users", TAIWAN, TAIPEI, SEARCH),
    ):
        console.print(f"\n# {title}: {person.name} of {person.affiliate}", style="bold")
        command = (
            f"curl -i -H 'Authorization: Bearer {stage.token(person)}' "
            f"-H 'X-Forwarded-For: {address}' '{stage.gateway}{request.partition(' ')[2]}'"
        )
        console.print(Text(command), soft_wrap=True)
    console.print("\n# the record of a decision_id, the ledger as it grows, the counters, the probes", style="bold")
    ledger = f"{_command()} ledger"
    for command in (
        f"{ledger} show {stage.ledger} DECISION_ID",
        f"{ledger} tail -f {stage.ledger}",
        f"{ledger} verify {stage.ledger} --key {stage.verifier}",
        f"curl {stage.admin}/metrics",
        f"curl {stage.admin}/readyz",
    ):
        console.print(Text(command), soft_wrap=True)
    console.print(
        "\nRunning until Ctrl-C. The edge proxy is trusted on 127.0.0.1, so X-Forwarded-For says where you are."
    )


def _command() -> str:
    """Return how this program was called, as it can be typed again."""
    called = Path(sys.argv[0])
    if called.name != "sekisho" or shutil.which("sekisho") is not None:
        return "sekisho"
    return str(called.relative_to(Path.cwd())) if called.is_relative_to(Path.cwd()) else str(called)


def _folder(stage: Stage) -> str:
    folder = stage.snapshot.folder
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)
