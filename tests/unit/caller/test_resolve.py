# SPDX-License-Identifier: Apache-2.0
"""A token becomes a caller, and a kept caller dies with everything that made it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.caller.affiliates import AffiliateEntry, ControlRuleEntry, compute_affiliates
from proxy.caller.clients import Client, Clients
from proxy.caller.issuers import LEEWAY_SECONDS
from proxy.caller.keys import KeySet
from proxy.caller.parties import Speaking, assemble_caller, join, make_party
from proxy.caller.people import PeopleInMemory
from proxy.caller.register import Affiliates
from proxy.caller.resolve import (
    MAX_KEPT,
    NOTHING_MET,
    CallerNeed,
    Callers,
    IntrospectionNeeded,
    KeysNeeded,
)
from proxy.caller.revocation import Introspected, Revoked
from proxy.caller.speaking import Registers
from proxy.model.caller import Caller, TieKind
from proxy.model.decision import Reason
from proxy.model.facts import NOT_APPLICABLE, UNKNOWN, FactSet
from tests.support.tokens import (
    NOW,
    PARTNER,
    HeldSets,
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


def registers() -> Registers:
    return Registers(affiliates(), PeopleInMemory({}), Clients({}))


class Held:
    """Key sets that a test holds in its hand."""

    def __init__(self) -> None:
        self.sets: dict[str, KeySet] = HeldSets(self, {"corp": corp_keys(), "partner": partner_keys()})
        self.failed: set[str] = set()


@pytest.fixture
def keys() -> Held:
    return Held()


@pytest.fixture
def callers() -> Callers:
    return Callers((an_issuer(), a_partner()), registers())


def resolve(
    callers: Callers, keys: Held, raw_token: str, now: float = NOW, *, refreshed: bool = False
) -> Caller | Reason | CallerNeed:
    met: frozenset[CallerNeed] = frozenset(map(KeysNeeded, ("corp", "partner"))) if refreshed else NOTHING_MET
    return callers.resolve(raw_token, keys, now, met)


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
    assert affiliates().current.unknown_ties <= caller.open_ties


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
    assert isinstance(caller, Caller)
    assert (caller.principal, caller.affiliate, caller.on_behalf_of.principal) == ("corp|eve", UNKNOWN, "corp|alice")
    assert isinstance(caller.countries, FactSet)
    assert caller.countries.is_open


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


def test_a_kept_caller_outlives_a_change_of_other_keys(callers: Callers, keys: Held) -> None:
    first = resolve(callers, keys, TOKEN)
    keys.sets["corp"] = key_set(jwk(a_provider()))
    assert resolve(callers, keys, TOKEN) is first
    assert resolve(callers, keys, TOKEN) is first


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
    assert "CN" not in {tie.country for tie in caller.ties}
    assert "residence" in caller.open_ties, "somebody unknown reads through it, who lives somewhere"


def test_somebody_tied_to_no_country_is_unknown() -> None:
    register = affiliates(frozenset({TieKind.RESIDENCE})).current
    job = Client("job", "partner", autonomous=True)
    party = make_party(None, {"kind": "service"}, register, principal="p", client=job)
    assert join(Speaking(party), register).countries is UNKNOWN


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


THUMBPRINT = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"
BOUND = a_token(affiliate="ly", cnf={"x5t#S256": THUMBPRINT})


def shown(callers: Callers, keys: Held, certificate: str | None, raw: str = BOUND) -> object:
    return callers.resolve(raw, keys, NOW, NOTHING_MET, "authorization", certificate)


@pytest.mark.parametrize("first", [THUMBPRINT, "other", None])
def test_lessons_row_15_a_kept_caller_is_the_certificates_too(callers: Callers, keys: Held, first: str | None) -> None:
    for certificate in (first, THUMBPRINT, "other", None, THUMBPRINT):
        found = shown(callers, keys, certificate)
        assert isinstance(found, Caller) == (certificate == THUMBPRINT)
    assert shown(callers, keys, None) is Reason.TOKEN_CERTIFICATE_MISSING
    assert shown(callers, keys, "other") is Reason.TOKEN_CERTIFICATE_OTHER


def test_a_token_that_is_not_bound_is_kept_whatever_certificate_is_shown(callers: Callers, keys: Held) -> None:
    kept = shown(callers, keys, None, TOKEN)
    assert shown(callers, keys, "any", TOKEN) is kept


@pytest.mark.parametrize("first", ["authorization", "cookie id", "header x-id"])
def test_lessons_row_15_a_kept_caller_is_the_places_too(keys: Held, first: str) -> None:
    callers = Callers((an_issuer(token_place={"cookie": "id"}),), registers())
    for place in (first, "cookie id", "authorization", "cookie id"):
        found = callers.resolve(TOKEN, keys, NOW, NOTHING_MET, place)
        assert isinstance(found, Caller) if place == "cookie id" else found is Reason.TOKEN_MISPLACED


def test_lessons_row_15_a_kept_caller_is_the_snapshots(keys: Held) -> None:
    before, after = (
        Callers((an_issuer(may_assert=may),), registers()) for may in ({"affiliate": "any"}, {"affiliate": ["partner"]})
    )
    ours, cut = resolve(before, keys, TOKEN), resolve(after, keys, TOKEN)
    assert isinstance(ours, Caller)
    assert isinstance(cut, Caller)
    assert (ours.affiliate, cut.affiliate) == ("ly", UNKNOWN)


ROTATIONS: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "nothing changes": ([jwk(a_provider()), jwk(a_provider(algorithm="EdDSA"))], True),
    "a key is added": ([jwk(a_provider()), jwk(a_provider(PARTNER), kid="new")], True),
    "all others are removed": ([jwk(a_provider())], True),
    "it is published with other words": ([jwk(a_provider(), use=None)], True),
    "its order changes": ([jwk(a_provider(algorithm="EdDSA")), jwk(a_provider())], True),
    "it is removed": ([jwk(a_provider(algorithm="EdDSA"))], False),
    "another key takes its id": ([jwk(a_provider(PARTNER), kid="key-ES256")], False),
    "it loses its id": ([jwk(a_provider(), kid="moved")], False),
    "it is declared for encryption": ([jwk(a_provider(), use="enc"), jwk(a_provider(algorithm="EdDSA"))], False),
}


@pytest.mark.parametrize(("published", "lives"), ROTATIONS.values(), ids=ROTATIONS)
def test_a_kept_caller_lives_with_its_key_when(
    callers: Callers,
    keys: Held,
    published: list[dict[str, Any]],
    lives: bool,  # noqa: FBT001
) -> None:
    kept = resolve(callers, keys, TOKEN)
    keys.sets["corp"] = key_set(*published)
    found = resolve(callers, keys, TOKEN, refreshed=True)
    assert (found is kept) == lives
    assert isinstance(found, Caller) == lives


def test_a_kept_caller_without_a_key_id_ends_when_it_could_be_two_keys(callers: Callers, keys: Held) -> None:
    raw = seal({"alg": "ES256"}, claims(affiliate="ly"))
    assert isinstance(resolve(callers, keys, raw), Caller)
    keys.sets["corp"] = key_set(jwk(a_provider()), jwk(a_provider(PARTNER), kid="new"))
    assert resolve(callers, keys, raw, refreshed=True) is Reason.TOKEN_KEY_UNKNOWN


def test_lessons_row_14_a_key_that_could_not_be_looked_for_is_503(callers: Callers, keys: Held) -> None:
    raw = seal(header(kid="rotated"), claims())
    keys.failed.add("corp")
    assert resolve(callers, keys, raw, refreshed=True) is Reason.KEYS_UNAVAILABLE
    keys.failed = {"partner"}
    assert resolve(callers, keys, raw, refreshed=True) is Reason.TOKEN_KEY_UNKNOWN


def test_an_outage_ends_nobody_whose_key_is_there(callers: Callers, keys: Held) -> None:
    keys.failed.add("corp")
    assert isinstance(resolve(callers, keys, TOKEN), Caller)


def test_the_need_of_one_issuer_being_met_leaves_the_others(callers: Callers, keys: Held) -> None:
    keys.sets.clear()
    met: frozenset[CallerNeed] = frozenset({KeysNeeded("partner")})
    assert callers.resolve(TOKEN, keys, NOW, met) == KeysNeeded("corp")


def test_a_revoked_token_opens_nothing(keys: Held) -> None:
    revoked = Revoked(subjects={("corp", "alice"): NOW})
    callers = Callers((an_issuer(), a_partner()), registers(), revoked)
    assert resolve(callers, keys, TOKEN) is Reason.TOKEN_REVOKED
    assert isinstance(resolve(callers, keys, PARTNER_TOKEN), Caller)
    assert resolve(callers, keys, seal(header(), claims(), a_provider(PARTNER))) is Reason.TOKEN_SIGNATURE_WRONG


class Said:
    """What issuers said, held by a test."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Introspected] = {}
        self.asked: list[tuple[str, str]] = []

    def find(self, issuer_id: str, token_digest: str) -> Introspected | None:
        self.asked.append((issuer_id, token_digest))
        return self.answers.get((issuer_id, token_digest))

    def say(self, need: object, *, is_active: bool = True, until: float = NOW + 30, **said: Any) -> None:
        assert isinstance(need, IntrospectionNeeded)
        self.answers[need.issuer_id, need.token_digest] = Introspected(is_active, said, until)


INTROSPECTION = {"url": "https://idp.example.jp/i", "client_id": "c", "secret": {"secret": "env:S"}}


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def asking(said: Said) -> Callers:
    return Callers((an_issuer(introspection=INTROSPECTION), a_partner()), registers(), introspections=said)


def test_an_issuer_is_asked_once_and_believed_until_its_answer_is_old(asking: Callers, keys: Held, said: Said) -> None:
    need = asking.resolve(TOKEN, keys, NOW)
    assert isinstance(need, IntrospectionNeeded)
    assert (need.issuer_id, need.raw_token, len(need.token_digest)) == ("corp", TOKEN, 64)
    said.say(need)
    kept = asking.resolve(TOKEN, keys, NOW, frozenset({need}))
    assert isinstance(kept, Caller)
    assert asking.resolve(TOKEN, keys, NOW + 29.9) is kept
    assert asking.resolve(TOKEN, keys, NOW + 30) == need


def test_a_token_is_not_shown_with_the_need_for_its_introspection(asking: Callers, keys: Held) -> None:
    need = asking.resolve(TOKEN, keys, NOW)
    assert TOKEN not in repr(need)
    assert TOKEN.rpartition(".")[2] not in f"{need!s} {[need]}"


def test_without_an_answer_it_is_503_and_nobody_is_kept(asking: Callers, keys: Held, said: Said) -> None:
    need = asking.resolve(TOKEN, keys, NOW)
    assert isinstance(need, IntrospectionNeeded)
    assert asking.resolve(TOKEN, keys, NOW, frozenset({need})) is Reason.INTROSPECTION_UNAVAILABLE
    assert asking._kept == {}
    said.say(need, until=NOW)
    assert asking.resolve(TOKEN, keys, NOW, frozenset({need})) is Reason.INTROSPECTION_UNAVAILABLE


def test_without_anybody_to_ask_it_is_503(keys: Held) -> None:
    callers = Callers((an_issuer(introspection=INTROSPECTION),), registers())
    need = callers.resolve(TOKEN, keys, NOW)
    assert isinstance(need, IntrospectionNeeded)
    assert callers.resolve(TOKEN, keys, NOW, frozenset({need})) is Reason.INTROSPECTION_UNAVAILABLE


def test_an_inactive_token_is_refused_until_the_answer_is_old(asking: Callers, keys: Held, said: Said) -> None:
    need = asking.resolve(TOKEN, keys, NOW)
    said.say(need, is_active=False)
    assert asking.resolve(TOKEN, keys, NOW) is Reason.TOKEN_REVOKED
    assert asking.resolve(TOKEN, keys, NOW + 30) == need


def test_an_answer_about_somebody_else_is_none_about_this_token(asking: Callers, keys: Held, said: Said) -> None:
    said.say(asking.resolve(TOKEN, keys, NOW), sub="bob")
    assert asking.resolve(TOKEN, keys, NOW) is Reason.TOKEN_INTROSPECTED_OTHERWISE


def test_lessons_row_15_an_answer_is_one_tokens_and_one_issuers(asking: Callers, keys: Held, said: Said) -> None:
    said.say(asking.resolve(TOKEN, keys, NOW))
    other = asking.resolve(a_token(affiliate="ly", jti="other"), keys, NOW)
    assert isinstance(other, IntrospectionNeeded)
    assert isinstance(asking.resolve(PARTNER_TOKEN, keys, NOW), Caller), "the partner is not asked"


@pytest.mark.parametrize("raw", [a_token(exp=int(NOW) - 3600), seal(header(), claims(), a_provider(PARTNER)), "a.b.c"])
def test_nobody_is_asked_about_what_is_refused_anyway(asking: Callers, keys: Held, said: Said, raw: str) -> None:
    assert isinstance(asking.resolve(raw, keys, NOW), Reason)
    assert said.asked == []


def test_keys_are_needed_before_an_introspection_and_each_once(asking: Callers, keys: Held, said: Said) -> None:
    ours = keys.sets.pop("corp")
    first = asking.resolve(TOKEN, keys, NOW)
    assert first == KeysNeeded("corp")
    keys.sets["corp"] = ours
    second = asking.resolve(TOKEN, keys, NOW, frozenset({KeysNeeded("corp")}))
    assert isinstance(second, IntrospectionNeeded)
    said.say(second)
    assert isinstance(asking.resolve(TOKEN, keys, NOW, frozenset({KeysNeeded("corp"), second})), Caller)


def test_the_end_of_an_answer_does_not_cut_what_is_under_way(asking: Callers, keys: Held, said: Said) -> None:
    said.say(asking.resolve(TOKEN, keys, NOW))
    caller = asking.resolve(TOKEN, keys, NOW)
    assert isinstance(caller, Caller)
    assert caller.until == claims()["exp"] + LEEWAY_SECONDS


REVISITS: dict[str, tuple[dict[str, Any] | None, float, object]] = {
    "nobody has asked": (None, NOW, Caller),
    "it said yes a moment ago": ({}, NOW, Caller),
    "it said yes some time ago": ({}, NOW + 60, Caller),
    "it said no": ({"is_active": False}, NOW, Reason.TOKEN_REVOKED),
    "it said no some time ago": ({"is_active": False}, NOW + 60, Reason.TOKEN_REVOKED),
    "it spoke of somebody else": ({"sub": "bob"}, NOW + 60, Reason.TOKEN_INTROSPECTED_OTHERWISE),
    "it said yes, and the token has ended": ({}, NOW + 3600, Reason.TOKEN_EXPIRED),
}


@pytest.mark.parametrize(("answer", "now", "found"), REVISITS.values(), ids=REVISITS)
def test_a_request_under_way_goes_on_by_its_issuers_last_word(
    asking: Callers, keys: Held, said: Said, *, answer: dict[str, Any] | None, now: float, found: object
) -> None:
    if answer is not None:
        said.say(asking.resolve(TOKEN, keys, NOW), **answer)
    revisited = asking.revisit(TOKEN, keys, now)
    assert isinstance(revisited, Caller) if found is Caller else revisited is found
    assert isinstance(asking.resolve(TOKEN, keys, NOW + 60), (IntrospectionNeeded, Reason)), "nobody is kept by it"


def test_a_request_under_way_ends_without_its_key(asking: Callers, callers: Callers, keys: Held) -> None:
    for each in (asking, callers):
        assert isinstance(each.revisit(TOKEN, keys, NOW), Caller)
    keys.sets["corp"] = key_set(jwk(a_provider(algorithm="EdDSA")))
    for each in (asking, callers):
        assert each.revisit(TOKEN, keys, NOW) is Reason.TOKEN_KEY_UNKNOWN
    keys.sets.clear()
    for each in (asking, callers):
        assert each.revisit(TOKEN, keys, NOW) is Reason.KEYS_UNAVAILABLE


def test_a_request_under_way_is_held_to_its_place_and_certificate(callers: Callers, keys: Held) -> None:
    assert isinstance(callers.revisit(BOUND, keys, NOW, "authorization", THUMBPRINT), Caller)
    assert callers.revisit(BOUND, keys, NOW, "authorization", None) is Reason.TOKEN_CERTIFICATE_MISSING
    assert callers.revisit(BOUND, keys, NOW, "cookie id", THUMBPRINT) is Reason.TOKEN_MISPLACED


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
    callers = Callers((an_issuer(), a_partner()), Registers(register, PeopleInMemory({}), Clients({})))
    token = seal(header(), claims(affiliate="ly", iat=on - 60, nbf=on - 60, exp=on + 600), a_provider())
    before, kept, after, back = (resolve(callers, keys, token, now) for now in (on - 2, on - 1, on, on - 1))
    assert all(isinstance(each, Caller) for each in (before, kept, after, back)), (before, after)
    owners = [{tie.country for tie in each.ties if tie.kind is TieKind.CONTROL} for each in (before, kept, after, back)]  # type: ignore[union-attr]
    assert owners == [{"JP"}, {"JP"}, {"CN"}, {"JP"}]
    assert kept is before
