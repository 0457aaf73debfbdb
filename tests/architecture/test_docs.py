# SPDX-License-Identifier: Apache-2.0
import argparse
import json
import re
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

from proxy.cli import VERBS
from proxy.cli.ledger import VERBS as LEDGER_VERBS
from proxy.cli.run import configure
from proxy.ledger.json_schema import make_schema
from proxy.model.decision import Reason
from proxy.model.request import VARYING
from proxy.pipeline.answers import ANSWERS
from proxy.policy.attributes import ATTRIBUTES
from proxy.redaction.answers import ANSWER_FIELDS
from proxy.request.headers import REQUEST_FIELDS, REQUEST_PREFIXES
from proxy.settings import Settings
from proxy.telemetry import Metrics, ProbeMetrics
from tests.support.http_reference import NEW_EACH_TIME

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES: Final = sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md"), *ROOT.glob("*.md")])


def test_the_table_of_headers_is_the_codes() -> None:
    fields = {name: rule.value for name, rule in REQUEST_FIELDS.items()}
    fields |= {f"{prefix}*": rule.value for prefix, rule in REQUEST_PREFIXES.items()}
    rows = [f"| `{name}` | {value} |" for name, value in fields.items()]
    page = (ROOT / "docs" / "headers.md").read_text(encoding="utf-8")
    assert [row for row in page.splitlines() if row.startswith("| `") and row in rows] == rows, "\n".join(rows)


def test_the_fields_that_are_new_in_each_request_are_the_codes() -> None:
    assert NEW_EACH_TIME == VARYING


def test_the_fields_of_answers_that_leave_are_the_codes() -> None:
    page = (ROOT / "docs" / "headers.md").read_text(encoding="utf-8")
    listed = page.partition("### Where the answer is looked into")[2].split("\n\n")[2]
    assert set(re.findall(r"`([a-z-]+)`", listed)) == ANSWER_FIELDS - {"connection", "date"}


def test_the_table_of_attributes_is_the_codes() -> None:
    page = (ROOT / "docs" / "attributes.md").read_text(encoding="utf-8")
    for attribute in ATTRIBUTES.values():
        assert f"| `{attribute.name}` | {attribute.kind.value} | {attribute.source} |" in page


def test_the_table_of_settings_is_the_codes() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `SEKISHO_([A-Z_]+)` \| (?:`(--[a-z-]+)[^|]*)? ?\| [^|]+ \| ([^|]+) \|$", page)
    assert sorted(name.lower() for name, _, _ in rows) == sorted(Settings.model_fields)
    parser = argparse.ArgumentParser()
    configure(parser)
    flags = {flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")}
    assert {flag for _, flag, _ in rows if flag} == flags - {"--help"}
    for name, flag, missing in rows:
        assert not flag or flag == f"--{name.lower().replace('_', '-')}"
        default = Settings.model_fields[name.lower()].default
        if isinstance(default, str | int | float | Path):
            told = f"{default:g}" if isinstance(default, float) else str(default)
            assert missing.strip("`") == told, name


def test_the_ledgers_schema_is_the_codes() -> None:
    schema = json.loads((ROOT / "docs" / "ledger.schema.json").read_text(encoding="utf-8"))
    assert schema == make_schema(), "sekisho ledger schema > docs/ledger.schema.json"


def test_the_readmes_first_screen_has_the_two_commands() -> None:
    first_screen = README.splitlines()[:40]
    assert any("make demo" in line for line in first_screen)
    assert any("make test" in line for line in first_screen)
    assert README.count("\n") < 200


def test_every_verb_that_the_pages_name_exists() -> None:
    for page in PAGES:
        for verb in re.findall(r"`?sekisho (?!\w+\.)([a-z]+)\b(?=[` ])", page.read_text(encoding="utf-8")):
            assert verb in VERBS, f"{page.name} names `sekisho {verb}`"


def test_every_verb_of_make_that_the_pages_name_exists() -> None:
    verbs = {*re.findall(r"(?m)^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"))}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"`make ((?:[a-z0-9-]+ ?)+)`", text) + re.findall(r"(?m)^make ([a-z0-9-]+) +#", text)
        missing = {verb for verbs_ in named for verb in verbs_.split()} - verbs
        assert not missing, f"{page.name} names make {missing}"


def test_every_verb_and_flag_of_the_ledger_that_the_pages_name_exists() -> None:
    parsers = {}
    for verb in LEDGER_VERBS:
        parsers[verb] = argparse.ArgumentParser()
        import_module(f"proxy.cli.ledger.{verb.replace('-', '_')}").configure(parsers[verb])
    for page in PAGES:
        for verb, rest in re.findall(
            r"sekisho ledger ([a-z]+(?:-[a-z]+)*)([^`#\n]*)", page.read_text(encoding="utf-8")
        ):
            assert verb in parsers, f"{page.name} names `sekisho ledger {verb}`"
            known = {flag for action in parsers[verb]._actions for flag in action.option_strings}
            named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", rest))
            assert named <= known, f"{page.name} names `sekisho ledger {verb} {rest}`"


def test_every_metric_that_the_pages_name_exists() -> None:
    declared = {metric.name for each in (Metrics(), ProbeMetrics()) for metric in each.registry.collect()}
    for page in PAGES:
        for name in re.findall(r"\bsekisho_[a-z_]+", page.read_text(encoding="utf-8")):
            assert re.sub("_(total|count|sum|bucket)$", "", name) in declared, f"{page.name} names {name}"


def test_every_reason_that_the_pages_name_exists() -> None:
    known = set(Reason)
    for page in PAGES:
        for word in re.findall(
            r"`((?:target|token|certificate|upstream|keys|ledger|route|rule)-[a-z-]+)`", page.read_text("utf-8")
        ):
            assert word in known or word.endswith("-"), f"{page.name} names {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_every_folder_that_is_deployed_has_its_row() -> None:
    page = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    folders = {path.name for path in (ROOT / "deploy").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {name for name in folders if f"\n| `{name}/` |" not in page} == set()


def test_each_refusal_about_subjects_answers_and_apis_that_fail_is_explained() -> None:
    page = (ROOT / "docs" / "refusals.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"(?m)^\| `([a-z-]+)` \| ([0-9]+) \| [^|]+ \| [^|]+ \|$", page))
    reasons = list(Reason)
    about = reasons[reasons.index(Reason.QUERY_MALFORMED) : reasons.index(Reason.ANSWER_COUNTRY_MALFORMED) + 1]
    about += [reason for reason in reasons if reason.startswith("upstream-")]
    by_rules = {Reason.RULE_ALLOWS, Reason.INVARIANT_DENIES, Reason.RULE_DENIES, Reason.NO_RULE_ALLOWS}
    expected = {reason.value: str(ANSWERS[reason].status) for reason in about if reason not in by_rules}
    assert told == {**expected, "request-too-large": "413"}
