# SPDX-License-Identifier: Apache-2.0
"""A token becomes a caller, and a kept caller dies with everything that made it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.caller.affiliates import AffiliateEntry, ControlRuleEntry, compute_affiliates
from proxy.caller.keys import KeySet
from proxy.caller.register import Affiliates
from proxy.caller.resolve import MAX_KEPT, Callers, KeysNeeded, assemble_caller
from proxy.caller.tokens import LEEWAY_SECONDS
from proxy.model.caller import Caller, TieKind
from proxy.model.decision import Reason
from proxy.model.facts import NOT_APPLICABLE, UNKNOWN, FactSet
from tests.support.tokens import (
    NOW,
    PARTNER,
    a_partner,
    a_provider,
    a_token,
    an_issuer,
    claims,
    corp_keys,
    header,
    jwk,
    key_set,
    partner_keys,
    seal,
)

MANIFEST_TIES = tuple(kind for kind in TieKind if kind is not TieKind.SUBCONTRACTOR)
REGISTER: tuple[dict[str, Any], ...] = (
    {"id": "ly", "country": "JP", "home": "true", "shares_accounts": "true"},
    {"id": "partner", "country": "KR", "owners_complete": "true", "works_for": []},
    {"id": "shanghai", "country": "CN", "owners": [{"id": "ly", "share": "100"}], "works_for": []},
    {"id": "dalian-bpo", "country": "CN", "works_for": ["ly"], "owners_complete": "true"},
)


def affiliates(counted: frozenset[TieKind] = frozenset(MANIFEST_TIES)) -> Affiliates:
    rule = ControlRuleEntry.model_validate({"id": "majority", "threshold": "50", "default": "true"})
    return compute_affiliates([AffiliateEntry.model_validate(entry) for entry in REGISTER], [rule], counted)


class Held:
    """Key sets that a test holds in its hand."""

    def __init__(self) -> None:
        self.sets: dict[str, KeySet] = {"corp": corp_keys(), "partner": partner_keys()}

    def current(self, issuer_id: str, now: float) -> KeySet | None:
        return self.sets.get(issuer_id)


@pytest.fixture
def keys() -> Held:
    return Held()


@pytest.fixture
def callers() -> Callers:
    return Callers((an_issuer(), a_partner()), affiliates())


def resolve(
    callers: Callers, keys: Held, raw_token: str, now: float = NOW, *, refreshed: bool = False
) -> Caller | Reason | KeysNeeded:
    return callers.resolve(raw_token, keys, now, refreshed=refreshed)


TOKEN = a_token(affiliate="ly", employment_type="employee", residence_country="jp", site="JP", groups=["support"])
PARTNER_TOKEN = seal(header(), claims(iss=PARTNER, affiliate="partner"), a_provider(PARTNER))


def test_a_verified_token_becomes_a_caller(callers: Callers, keys: Held) -> None:
    caller = resolve(callers, keys, TOKEN)
    assert isinstance(caller, Caller)
    assert (caller.principal, caller.issuer, caller.issuer_operator) == ("corp|alice", "corp", "ly")
    assert (caller.affiliate, caller.affiliate_country, caller.residence) == ("ly", "JP", "JP")
    assert caller.groups == FactSet(frozenset({"support"}))


def test_a_parents_provider_cannot_say_that_somebody_is_ours(callers: Callers, keys: Held) -> None:
    caller = resolve(callers, keys, seal(header(), claims(iss=PARTNER, affiliate="ly"), a_provider(PARTNER)))
    assert isinstance(caller, Caller)
    assert (caller.issuer, caller.affiliate, caller.affiliate_country) == ("partner", UNKNOWN, UNKNOWN)
    assert isinstance(caller.countries, FactSet)
    assert caller.countries.is_open


def test_an_affiliate_that_nobody_declared_is_unknown(callers: Callers, keys: Held) -> None:
    caller = resolve(callers, keys, a_token(affiliate="lyy"))
    assert isinstance(caller, Caller)
    assert caller.affiliate is UNKNOWN
    assert callers._affiliates.current.unknown_ties <= caller.open_ties


def test_the_same_subject_of_two_issuers_is_two_people(callers: Callers, keys: Held) -> None:
    ours, theirs = (resolve(callers, keys, raw) for raw in (TOKEN, PARTNER_TOKEN))
    assert isinstance(ours, Caller)
    assert isinstance(theirs, Caller)
    assert (ours.principal, theirs.principal) == ("corp|alice", "partner|alice")


def test_a_delegated_token_is_not_judged_by_its_subject_alone(callers: Callers, keys: Held) -> None:
    """RFC 8693 4.1: whoever acts is somebody else, here somebody in Dalian."""
    actor = {"sub": "eve", "affiliate": "dalian-bpo", "residence_country": "CN"}
    claimed = claims(affiliate="partner", residence_country="JP", site="JP", act=actor)
    caller = resolve(callers, keys, seal(header(), claimed))
    if isinstance(caller, Caller):
        assert isinstance(caller.countries, FactSet)
        assert caller.countries.is_open or "CN" in caller.countries.members


def test_without_keys_they_are_asked_for_once(callers: Callers, keys: Held) -> None:
    del keys.sets["corp"]
    assert resolve(callers, keys, TOKEN) == KeysNeeded("corp")
    assert resolve(callers, keys, TOKEN, refreshed=True) is Reason.KEYS_UNAVAILABLE


def test_for_an_unknown_key_they_are_asked_for_once(callers: Callers, keys: Held) -> None:
    raw = seal(header(kid="rotated"), claims())
    assert resolve(callers, keys, raw) == KeysNeeded("corp")
    assert resolve(callers, keys, raw, refreshed=True) is Reason.TOKEN_KEY_UNKNOWN


STRANGE = {
    "nothing": "",
    "no token": "a.b.c",
    "another issuer's token": a_token(iss="https://evil.example"),
    "an unsigned token": seal(header(alg="none"), claims()),
}


@pytest.mark.parametrize("raw", STRANGE.values(), ids=STRANGE)
def test_what_names_no_issuer_of_ours_asks_for_no_keys(callers: Callers, keys: Held, raw: str) -> None:
    keys.sets.clear()
    assert isinstance(resolve(callers, keys, raw), Reason)


@pytest.mark.parametrize("raw", [TOKEN, PARTNER_TOKEN], ids=["ours", "a partner's"])
def test_a_caller_is_kept(callers: Callers, keys: Held, raw: str) -> None:
    kept = resolve(callers, keys, raw)
    assert isinstance(kept, Caller)
    assert resolve(callers, keys, raw) is kept


def test_a_kept_caller_dies_with_its_exp(callers: Callers, keys: Held) -> None:
    end = claims()["exp"] + LEEWAY_SECONDS
    kept = resolve(callers, keys, TOKEN)
    assert resolve(callers, keys, TOKEN, end - 0.001) is kept
    assert resolve(callers, keys, TOKEN, end) is Reason.TOKEN_EXPIRED


def test_a_kept_caller_dies_with_the_key_that_verified_it(callers: Callers, keys: Held) -> None:
    assert isinstance(resolve(callers, keys, TOKEN), Caller)
    keys.sets["corp"] = key_set(jwk(a_provider(algorithm="EdDSA")))
    assert resolve(callers, keys, TOKEN) == KeysNeeded("corp")
    assert resolve(callers, keys, TOKEN, refreshed=True) is Reason.TOKEN_KEY_UNKNOWN


def test_a_kept_caller_dies_when_another_key_takes_the_id(callers: Callers, keys: Held) -> None:
    assert isinstance(resolve(callers, keys, TOKEN), Caller)
    keys.sets["corp"] = key_set(jwk(a_provider(PARTNER), kid="key-ES256"))
    assert resolve(callers, keys, TOKEN) is Reason.TOKEN_SIGNATURE_WRONG


def test_a_kept_caller_dies_with_stale_keys(callers: Callers, keys: Held) -> None:
    assert isinstance(resolve(callers, keys, TOKEN), Caller)
    del keys.sets["corp"]
    assert resolve(callers, keys, TOKEN, refreshed=True) is Reason.KEYS_UNAVAILABLE


def test_a_caller_is_kept_again_under_new_keys(callers: Callers, keys: Held) -> None:
    first = resolve(callers, keys, TOKEN)
    keys.sets["corp"] = key_set(jwk(a_provider()))
    second = resolve(callers, keys, TOKEN)
    assert second is not first
    assert resolve(callers, keys, TOKEN) is second


def test_another_issuers_keys_neither_keep_nor_kill(callers: Callers, keys: Held) -> None:
    kept = resolve(callers, keys, TOKEN)
    keys.sets["partner"] = corp_keys()
    assert resolve(callers, keys, TOKEN) is kept
    keys.sets["corp"], keys.sets["partner"] = partner_keys(), corp_keys()
    assert resolve(callers, keys, TOKEN) is Reason.TOKEN_SIGNATURE_WRONG


def test_one_letter_makes_another_token(callers: Callers, keys: Held) -> None:
    assert isinstance(resolve(callers, keys, TOKEN), Caller)
    head, body, signature = TOKEN.split(".")
    assert isinstance(resolve(callers, keys, f"{head}.{body}.{'A' * len(signature)}"), Reason)
    assert isinstance(resolve(callers, keys, TOKEN + "A"), Reason)


def test_refusals_are_not_kept(callers: Callers, keys: Held) -> None:
    for raw in (a_token(exp=int(NOW) - 3600), a_token(aud="billing"), seal(header(), claims(), a_provider(PARTNER))):
        assert isinstance(resolve(callers, keys, raw), Reason)
    assert callers._kept == {}


def test_the_bound_holds_and_the_oldest_go_first(callers: Callers, keys: Held) -> None:
    resolve(callers, keys, TOKEN)
    kept = callers._kept.pop(TOKEN)
    callers._kept.update({f"older-{number}": kept for number in range(MAX_KEPT)})
    newest = resolve(callers, keys, TOKEN)
    assert len(callers._kept) <= MAX_KEPT
    assert "older-0" not in callers._kept
    assert f"older-{MAX_KEPT - 1}" in callers._kept
    assert resolve(callers, keys, TOKEN) is newest


def test_a_service_lives_nowhere() -> None:
    caller = assemble_caller(None, {"kind": "service", "residence": "CN"}, affiliates().current, principal="p")
    assert (caller.residence, caller.citizenships) == (NOT_APPLICABLE, NOT_APPLICABLE)
    assert "residence" not in caller.open_ties


def test_somebody_tied_to_no_country_is_unknown() -> None:
    caller = assemble_caller(
        None,
        {"kind": "service", "affiliate": "partner"},
        affiliates(frozenset({TieKind.RESIDENCE})).current,
        principal="p",
    )
    assert caller.countries is UNKNOWN


FACTS: dict[str, Any] = {"affiliate": "ly", "kind": "employee", "residence": "JP", "site_country": "KR"}


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "affiliate": st.sampled_from(["ly", "partner", "shanghai", "dalian-bpo", "nobody"]),
            "kind": st.sampled_from(["employee", "contractor"]),
            "residence": st.sampled_from(["JP", "CN"]),
            "site_country": st.sampled_from(["JP", "CN"]),
        },
    ),
    st.frozensets(st.sampled_from(MANIFEST_TIES), min_size=1),
    st.sampled_from(sorted(FACTS)),
)
@example({"affiliate": "ly", "site_country": "JP"}, frozenset({TieKind.SITE}), "affiliate")
def test_losing_a_fact_never_frees_anybody_of_a_country(
    facts: dict[str, Any], counted: frozenset[TieKind], lost: str
) -> None:
    register = affiliates(counted).current
    less = {name: fact for name, fact in facts.items() if name != lost}
    before, after = (assemble_caller(None, some, register, principal="p").countries for some in (facts, less))
    if isinstance(after, FactSet) and not after.is_open:
        assert isinstance(before, FactSet)
        assert before.members <= after.members
        assert not before.is_open


def test_a_kept_caller_does_not_outlive_the_date_on_which_its_affiliate_changes_hands(keys: Held) -> None:
    """Row 24: a stale answer about who somebody is."""
    sold = {
        "id": "ly", "country": "JP", "owners_complete": "true", "owners": [
            {"state": "JP", "share": "100", "until": "2026-01-01T00:00:00Z"},
            {"state": "CN", "share": "100", "from": "2026-01-01T00:00:00Z"},
        ],
    }  # fmt: skip
    on = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    rule = ControlRuleEntry.model_validate({"id": "majority", "threshold": "50", "default": "true"})
    entries = [AffiliateEntry.model_validate(entry) for entry in (sold, *REGISTER[1:])]
    register = compute_affiliates(entries, [rule], frozenset(MANIFEST_TIES), on - 1)
    callers = Callers((an_issuer(), a_partner()), register)
    token = seal(header(), claims(affiliate="ly", iat=on - 60, nbf=on - 60, exp=on + 600), a_provider())
    before, kept, after, back = (resolve(callers, keys, token, now) for now in (on - 2, on - 1, on, on - 1))
    assert all(isinstance(each, Caller) for each in (before, kept, after, back)), (before, after)
    owners = [{tie.country for tie in each.ties if tie.kind is TieKind.CONTROL} for each in (before, kept, after, back)]  # type: ignore[union-attr]
    assert owners == [{"JP"}, {"JP"}, {"CN"}, {"JP"}]
    assert kept is before
