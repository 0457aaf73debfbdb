# SPDX-License-Identifier: Apache-2.0
"""Each field has its words, and a field of a newer version is shown without."""

import json
from typing import Any

import pytest

from proxy.cli.ledger.meaning import tell_sections, told_fields
from proxy.ledger.entry import encode_body
from proxy.ledger.lines import (
    CallerRecorded,
    DecisionLine,
    OriginRecorded,
    PersonRecorded,
    RuleRecorded,
    ShadowRecorded,
)
from proxy.ledger.query import FIELDS
from proxy.model.decision import Reason
from tests.support.ledger_lines import SATO, WANG, a_decision, an_allowance

TOLD = [
    pytest.param(a_decision(caller=CallerRecorded()), "who", "nobody who is known", id="nobody known"),
    pytest.param(
        a_decision(caller=CallerRecorded(countries=("JP",), countries_open=True)),
        "tied to",
        "JP (Japan), and possibly others that nobody declared",
        id="an open set of countries",
    ),
    pytest.param(
        a_decision(caller=CallerRecorded(countries="not applicable")),
        "tied to",
        "does not apply here",
        id="countries that do not apply",
    ),
    pytest.param(
        a_decision(caller=CallerRecorded(ties=("client/employer:CN:bot", "site:JP:", "strange"))),
        "how it is tied",
        "CN by employer of the client (bot); JP by site; strange",
        id="ties of others, without a path, and none",
    ),
    pytest.param(
        a_decision(caller=CallerRecorded(on_behalf_of=PersonRecorded(who=SATO, issuer="corp", affiliate="ly"))),
        "acted for",
        f"{SATO}, corp, ly, unknown",
        id="for somebody",
    ),
    pytest.param(
        a_decision(origin=OriginRecorded(anonymous=())), "hides", "none of it", id="an address that hides nothing"
    ),
    pytest.param(
        a_decision(origin=OriginRecorded(anonymous=("tor",), anonymous_open=True)),
        "hides",
        "tor, and possibly more",
        id="an address that may hide more",
    ),
    pytest.param(
        a_decision(enforced=False), "effect", "deny, but only observed: the request went on", id="only observed"
    ),
    pytest.param(a_decision(reason="token-expired"), "reason", "token-expired: the token has expired", id="a reason"),
    pytest.param(a_decision(reason="of-a-newer-version"), "reason", "of-a-newer-version", id="a reason nobody knows"),
    pytest.param(a_decision(rule="default"), "rule", "none (default)", id="no rule"),
    pytest.param(
        a_decision(certainty="by-unknown"),
        "how sure",
        "by-unknown: facts that the rule asks for were unknown, and a deny rule applies then, too",
        id="by unknown",
    ),
    pytest.param(
        a_decision(rules=(RuleRecorded("a", "deny", "matched"), RuleRecorded("b", "deny", "by-unknown", ("x",)))),
        "rules",
        "deny a matched; deny b by-unknown (not known: x)",
        id="rules",
    ),
    pytest.param(a_decision(lifted=(("r", "LE-1"),)), "lifted", "r=LE-1", id="a rule that a grant lifted"),
    pytest.param(a_decision(transforms={"phone": "mask"}), "masked", "phone=mask", id="what was masked"),
    pytest.param(
        a_decision(shadow=ShadowRecorded("allow", changes=True, rules=(RuleRecorded("t", "allow", "matched"),))),
        "in shadow",
        "allow, which is a change: allow t matched",
        id="in shadow",
    ),
    pytest.param(an_allowance(action="delete"), "released", "the request went to the API", id="what is no read"),
    pytest.param(a_decision(unlisted=3), "not listed", "3", id="rules beyond those listed"),
]


def as_row(line: DecisionLine) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(encode_body(line))
    return row


def told(row: dict[str, Any]) -> dict[str, str]:
    return {each.label: each.value for _, fields in tell_sections(row) for each in fields}


@pytest.mark.parametrize(("line", "label", "value"), TOLD)
def test_a_field_in_words(line: DecisionLine, label: str, value: str) -> None:
    assert told(as_row(line))[label].startswith(value)


def test_every_field_is_told() -> None:
    assert told_fields() == set(FIELDS)


def test_what_says_nothing_is_left_out() -> None:
    labels = told(as_row(a_decision())).keys()
    assert not labels & {
        "purpose",
        "acted for",
        "lifted",
        "masked",
        "in shadow",
        "not listed",
        "API's status",
        "records",
    }


def test_every_field_that_is_told_says_what_it_means() -> None:
    for _, fields in tell_sections(as_row(a_decision())):
        assert all(each.meaning for each in fields)


def test_fields_of_a_newer_version_are_shown() -> None:
    row = as_row(a_decision()) | {"weather": {"sky": "grey"}, "prev": "x", "line": "decision"}
    row["caller"]["shoes"] = [41, 42]
    *_, (title, fields) = tell_sections(row)
    assert title == "What this version does not know"
    assert {(each.label, each.value) for each in fields} == {("weather", "sky=grey"), ("caller.shoes", "41, 42")}
    assert told(row)["who"] == WANG


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_its_words(reason: Reason) -> None:
    assert told(as_row(a_decision(reason=reason.value)))["reason"].startswith(f"{reason.value}: ")
