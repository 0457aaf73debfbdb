# SPDX-License-Identifier: Apache-2.0
"""What a policy folder says of tokens: read, checked across registers, and part of its digests."""

from pathlib import Path

import pytest

from proxy.bundle.check import load_bundle
from tests.support.bundle_folder import edited, problems_after, write_bundle

P = "parties.yaml"
LISTED = ("bundle.yaml", "parties.yaml: [issuers,", "parties.yaml: [issuers, revoked,")
REVOKED = """\
revoked:
  - {issuer: corp, jti: 7f2c, reason: leaked in a ticket, since: 2027-01-15T09:00:00+09:00}
  - {issuer: corp, subject: alice, before: 2027-01-15T09:00:00+09:00, reason: lost laptop, since: 2027-01-15T09:00:00Z}
"""
JWKS = "    jwks: https://idp.example.jp/jwks.json\n"


def said(text: str) -> tuple[str, str, str]:
    """Return the edit that has the issuer say more."""
    return P, "    algorithms:", f"    {text}\n    algorithms:"


def revoked(text: str = REVOKED) -> tuple[str, str, str]:
    return P, "affiliates:\n", f"{text}affiliates:\n"


def test_the_register_of_revoked_tokens_is_read(tmp_path: Path) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, edited(LISTED, revoked())))
    assert list(snapshot.revoked.tokens) == [("corp", "7f2c")]
    assert list(snapshot.revoked.subjects) == [("corp", "alice")]


def test_a_revocation_is_another_version_of_the_facts_and_not_of_the_policy(tmp_path: Path) -> None:
    before = load_bundle(write_bundle(tmp_path / "a", edited(LISTED)))
    after = load_bundle(write_bundle(tmp_path / "b", edited(LISTED, revoked())))
    assert before.registers_digest != after.registers_digest
    assert before.policy_digest == after.policy_digest


WRONG: dict[str, tuple[tuple[str, str, str], str, str]] = {
    "a line for an issuer that nobody declared": (
        revoked(REVOKED.replace("issuer: corp, jti", "issuer: crop, jti")), "parties.yaml:15:14:", "'corp'",
    ),
    "a line without a reason": (revoked(REVOKED.replace("reason: lost laptop, ", "")), "parties.yaml:16:", "`reason`"),
    "a line that would end everything": (
        revoked(REVOKED.replace(" jti: 7f2c,", "")), "parties.yaml:15:", "remove the issuer",
    ),
    "a line with an unknown key": (revoked(REVOKED.replace("jti:", "by: me, jti:")), "parties.yaml:15:", "'by'"),
    "a token's header that means something else": (
        said("token_place: {header: X-Forwarded-For}"), "parties.yaml:7:", "means something else",
    ),
    "a token's header that is Authorization": (
        said("token_place: {header: Authorization}"), "parties.yaml:7:", "means something else",
    ),
    "a secret that is written out": (
        said("introspection: {url: 'https://idp.example.jp/i', client_id: a, secret: hunter2}"),
        "parties.yaml:7:", "never written here",
    ),
    "a secret that is written out below": (
        said("introspection: {url: 'https://idp.example.jp/i', client_id: a, secret: {secret: hunter2}}"),
        "parties.yaml:7:", "kept elsewhere",
    ),
    "a leeway of an hour": (said("leeway: 1h"), "parties.yaml:7:", "at most 5 minutes"),
    "keys at two places": (said("discovery: true"), "parties.yaml:7:", "leave one of the two out"),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "place", "words"), WRONG.values(), ids=WRONG)
def test_a_folder_is_refused_with(tmp_path: Path, edit: tuple[str, str, str], place: str, words: str) -> None:
    problems = problems_after(tmp_path, LISTED, edit)
    assert len(problems) == 1, problems
    assert problems[0].startswith(place), problems
    assert words in problems[0]
    assert "hunter2" not in problems[0]


SAID = {
    "where keys are is left out": (P, JWKS, ""),
    "a leeway and an age": said("leeway: 1m\n    max_age: 8h"),
    "types": said("token_type: [at+jwt, vnd.corp+jwt]"),
    "a cookie": said("token_place: {cookie: __Host-id}"),
    "a header of a gateway in front": said("token_place: {header: Cf-Access-Jwt-Assertion}"),
    "bound tokens": said("sender_constrained: certificate"),
    "an introspection": said(
        "introspection: {url: 'https://idp.example.jp/i', client_id: a, secret: {secret: env:IDP}, cache: 10s}"
    ),
}


@pytest.mark.parametrize("edit", SAID.values(), ids=SAID)
def test_a_folder_loads_with(tmp_path: Path, edit: tuple[str, str, str]) -> None:
    before = load_bundle(write_bundle(tmp_path / "a"))
    after = load_bundle(write_bundle(tmp_path / "b", edited(edit)))
    assert before.policy_digest != after.policy_digest
