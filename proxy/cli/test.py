# SPDX-License-Identifier: Apache-2.0
"""``sekisho test DIR``: runs the tests beside the policies, and tells which rules held in none of them."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from proxy.bundle.check import load_bundle
from proxy.errors import UsageError
from proxy.lifecycle.cases import CaseResult, Cases, find_unfired
from proxy.origin.geoip import make_geolocator
from proxy.policy.rules import Rule
from proxy.settings import read_settings

_NOT_IN_XML: Final = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 65534, 65535), "�")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("policies", type=Path, help="the policy folder")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the results as JUnit XML, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--require-coverage", action="store_true", help="fail if a rule holds in no test")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run every test; 1 if one fails, if there is none, or if coverage is required and lacks."""
    snapshot = load_bundle(options.policies)
    cases = Cases(snapshot, make_geolocator(read_settings()))
    results = [cases.run(case) for case in snapshot.cases]
    policy = snapshot.with_urgent({}).policy  # tests do not ask emergency denies
    unfired = find_unfired(policy, results)
    if options.junit is not None:
        _write_junit(options.junit, snapshot.name, results, unfired if options.require_coverage else ())
    if options.json:
        _print_json(results, unfired)
    else:
        _print_lines(results, unfired, len(policy.rules))
    failed = any(not result.passed for result in results)
    return 1 if failed or not results or (unfired and options.require_coverage) else 0


def _print_lines(results: Sequence[CaseResult], unfired: Sequence[Rule], rules: int) -> None:
    for result in results:
        print(f"{'ok    ' if result.passed else 'FAILED'} {result.name}")
        if not result.passed:
            print(f"         expected {result.expected}")
            print(f"         decided  {result.actual}{_tell_unknown(result)}")
            for record in result.answer.records if result.answer else ():
                print(f"           {record.describe()}")
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} passed, {failed} failed; {rules - len(unfired)} of {rules} rules hold in some test")
    for rule in unfired:
        print(f"never fired in any test: {rule.id}" + (f" ({rule.title})" if rule.title != rule.id else ""))
    if not results:
        print("There is no test: write some under `tests`, so that the next change cannot undo this one unseen.")


def _tell_unknown(result: CaseResult) -> str:
    unknown = ", ".join(result.decision.unknown) if result.decision else ""
    hint = "; give `at`" if result.decision and "time" in result.decision.unknown else ""
    return f" (not known: {unknown}{hint})" if unknown else ""


def _print_json(results: Sequence[CaseResult], unfired: Sequence[Rule]) -> None:
    shown = [
        {"name": each.name, "passed": each.passed, "expected": each.expected, "decided": each.actual}
        for each in results
    ]
    print(json.dumps({"tests": shown, "never_fired": [rule.id for rule in unfired]}, ensure_ascii=False))


def _write_junit(path: Path, name: str, results: Sequence[CaseResult], unfired: Sequence[Rule]) -> None:
    """Write what continuous integration systems read: one case an element, a failure with what was decided.

    Args:
        path: the file.
        name: of the bundle.
        results: of the tests.
        unfired: rules whose coverage is required and lacks.
    """
    failed = sum(not result.passed for result in results) + len(unfired)
    count = len(results) + len(unfired)
    suite = ET.Element("testsuite", name=name, tests=str(count), failures=str(failed), errors="0", skipped="0")
    for result in results:
        case = ET.SubElement(suite, "testcase", classname=name, name=_plain(result.name))
        if not result.passed:
            failure = ET.SubElement(case, "failure", message=_plain(f"decided {result.actual}"))
            records = "".join(f"\n{each.describe()}" for each in (result.answer.records if result.answer else ()))
            told = f"expected {result.expected}\ndecided {result.actual}{_tell_unknown(result)}{records}"
            failure.text = _plain(told)
    for rule in unfired:
        case = ET.SubElement(suite, "testcase", classname=name, name=f"coverage of {rule.id}")
        ET.SubElement(case, "failure", message="the rule holds in no test")
    root = ET.Element("testsuites")
    root.append(suite)
    try:
        ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error


def _plain(text: str) -> str:
    """Return a text without what XML 1.0 cannot hold."""
    return text.translate(_NOT_IN_XML)
