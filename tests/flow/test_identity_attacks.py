# SPDX-License-Identifier: Apache-2.0
"""A caller, or a partner's issuer, that tries the seams between tokens, certificates and those behind a caller."""

import itertools
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import pytest

from proxy.bundle.snapshot import Snapshot
from proxy.caller.certificates import CertificateIdentity
from proxy.caller.clients import Client, Clients
from proxy.caller.issuers import LEEWAY_SECONDS, Issuer
from proxy.caller.people import Engagement, PeopleInMemory
from proxy.caller.resolve import Callers, IntrospectionNeeded, KeysNeeded, Shown
from proxy.caller.revocation import Introspected, Revoked
from proxy.caller.speaking import Registers
from proxy.ledger.entry import encode_body
from proxy.ledger.record import Recorder
from proxy.model.caller import NO_PERSON, Caller
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN, FactSet
from proxy.model.origin import ClientAddress
from proxy.model.request import AUTHORIZATION, RequestHead
from proxy.origin.geoip import RegistryGeolocator
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Passage
from proxy.pipeline.steps import Forward, Refuse
from tests.support.certificates import Held as HeldCertificate
from tests.support.certificates import an_authority, billing, corp_ca
from tests.support.keys import RING
from tests.support.passages import NOW, HeldKeys, a_head, a_passage, a_token, reference_bundle
from tests.support.tokens import (
    CORP,
    PARTNER,
    HeldSets,
    a_partner,
    a_provider,
    an_issuer,
    claims,
    corp_keys,
    header,
    jwk,
    key_set,
    partner_keys,
    seal,
)
from tests.support.world import ENGINEER, OFFICE
from tests.unit.caller.test_speaking import AFFILIATES

BATCH, PORTAL = "spiffe://jp/batch", "spiffe://jp/portal"
PROGRAMS: Final = {
    ("mesh", BATCH): Client("batch", "ly", autonomous=True),
    ("mesh", PORTAL): Client("portal", "ly", autonomous=False),
}
STAFF: Final[dict[str, Any]] = {
    "affiliate": "ly", "employment_type": "employee", "residence_country": "JP", "site": "JP",
}  # fmt: skip
SERVICE: Final = {"sub": "robot", "affiliate": "ly", "employment_type": "service", "site": "JP"}


class Held:
    """Key sets, and what issuers said of tokens, that a test holds in its hand."""

    def __init__(self) -> None:
        self.sets: dict[str, Any] = HeldSets(self, {"corp": corp_keys(), "partner": partner_keys()})
        self.failed: set[str] = set()
        self.answers: dict[str, Introspected] = {}

    def find(self, issuer_id: str, token_digest: str) -> Introspected | None:
        return self.answers.get(issuer_id) if token_digest else None


def by(**changes: Any) -> str:
    """Return a token of corp's."""
    return seal(header(), claims(**{**STAFF, **changes}))


def by_partner(**changes: Any) -> str:
    said = {"iss": PARTNER, "sub": "kim", "affiliate": "partner", **changes}
    return seal(header(), claims(**said), a_provider(PARTNER))


def identity(name: str = BATCH, **changes: Any) -> CertificateIdentity:
    of = {
        "authority_id": "mesh", "operator": "ly", "assertable": None, "name": name, "thumbprint": name,
        "since": -math.inf, "until": math.inf,
    }  # fmt: skip
    return CertificateIdentity(**{**of, **changes})


def callers(
    *issuers: Issuer,
    people: Mapping[tuple[str, str], tuple[Engagement, ...]] | None = None,
    revoked: Revoked | None = None,
    held: Held | None = None,
) -> Callers:
    registers = Registers(AFFILIATES, PeopleInMemory(people or {}), Clients(PROGRAMS))
    return Callers(issuers or (an_issuer(), a_partner()), registers, revoked or Revoked(), held)


def nested(count: int) -> dict[str, Any]:
    """Return so many actors, one inside the other."""
    return {"sub": "a"} if count == 1 else {"sub": "a", "act": nested(count - 1)}


def shown(token: str | None = None, certificate: CertificateIdentity | None = None, behind: str | None = None) -> Shown:
    return Shown(None if token is None else (AUTHORIZATION, token), certificate, behind)


# Three credentials, each of which makes another caller.


def test_row_15_no_combination_is_taken_for_another() -> None:
    tokens = (None, by(sub="alice"), by(sub="bob"))
    certificates = (None, identity(), identity(PORTAL))
    asked = [
        shown(token, certificate, behind)
        for token, certificate, behind in itertools.product(tokens, certificates, tokens)
        if token is not None or certificate is not None
    ]
    together, keys = callers(), Held()
    for each in [*asked, *reversed(asked)]:
        assert together.resolve_shown(each, keys, NOW) == callers().resolve_shown(each, keys, NOW)
        assert together.resolve_shown(each, keys, NOW, None) == together.resolve_shown(each, keys, NOW)


def test_the_same_credentials_make_the_same_value() -> None:
    everything = shown(by(), identity(), by(sub="bob"))
    together, keys = callers(), Held()
    first = together.resolve_shown(everything, keys, NOW)
    assert isinstance(first, Caller)
    assert together.resolve_shown(everything, keys, NOW) is first


ENDS: Final[dict[str, tuple[Shown, float]]] = {
    "the certificate": (shown(by(), identity(until=NOW + 5)), NOW + 5),
    "the certificate of one who shows no token": (shown(None, identity(until=NOW + 5)), NOW + 5),
    "the certificate, with somebody behind": (shown(None, identity(until=NOW + 5), by(sub="bob")), NOW + 5),
    "the token": (shown(by(exp=NOW), identity(until=NOW + 500)), NOW + LEEWAY_SECONDS),
    "the token of the person behind": (
        shown(by(), identity(until=NOW + 500), by(sub="bob", exp=NOW)),
        NOW + LEEWAY_SECONDS,
    ),
    "the engagement of the caller": (shown(by(sub="ended"), identity(until=NOW + 50)), NOW + 7),
    "the engagement of the person behind": (shown(by(), None, by(sub="ended")), NOW + 7),
    "the engagement of one who passed it on": (shown(by(act={"sub": "ended"}), identity()), NOW + 7),
}
ENDED: Final = {("corp", "ended"): (Engagement("ly", "employee", "JP", "JP", until=NOW + 7),)}


@pytest.mark.parametrize(("each", "until"), ENDS.values(), ids=ENDS)
def test_a_caller_ends_with_the_first_of(each: Shown, until: float) -> None:
    together, keys = callers(people=ENDED), Held()
    found = together.resolve_shown(each, keys, NOW)
    assert isinstance(found, Caller)
    assert found.until == until
    assert together.resolve_shown(each, keys, NOW, None) == found


def test_a_certificate_for_which_another_ca_vouches_longer_lives_longer() -> None:
    together, keys = callers(), Held()
    for certificate in (identity(until=NOW + 5), identity(until=NOW + 500)):
        found = together.resolve_shown(shown(None, certificate), keys, NOW)
        assert isinstance(found, Caller)
        assert found.until == certificate.until


@pytest.mark.parametrize("met", [frozenset(), None], ids=["at its beginning", "under way"])
@pytest.mark.parametrize("place", ["the token", "the token of the person behind"])
def test_a_removed_key_ends_whoever_it_verified_in_every_place(place: str, met: frozenset[Any] | None) -> None:
    other = seal(header("EdDSA"), claims(**STAFF, sub="bob"), a_provider(algorithm="EdDSA"))
    is_behind = place != "the token"
    each = shown(by(), identity(), other) if is_behind else shown(other, identity(), by())
    together, keys = callers(), Held()
    assert isinstance(together.resolve_shown(each, keys, NOW), Caller)
    keys.sets["corp"] = key_set(jwk(a_provider()), algorithms=frozenset({"ES256", "EdDSA"}))
    found = together.resolve_shown(each, keys, NOW, met)
    assert found == (KeysNeeded("corp") if met is not None else Reason.TOKEN_KEY_UNKNOWN)


@pytest.mark.parametrize("met", [frozenset(), None], ids=["at its beginning", "under way"])
def test_a_token_behind_a_caller_that_its_issuer_calls_inactive_ends_the_request(met: frozenset[Any] | None) -> None:
    asking = an_issuer(
        introspection={"url": "https://idp.corp.example/introspect", "client_id": "g", "secret": {"secret": "env:S"}}
    )
    keys = Held()
    together = callers(asking, a_partner(), held=keys)
    each = shown(by_partner(), None, by(sub="bob"))
    need = together.resolve_shown(each, keys, NOW)
    assert isinstance(need, IntrospectionNeeded)
    keys.answers["corp"] = Introspected(is_active=True, said={}, until=NOW + 30)
    assert isinstance(together.resolve_shown(each, keys, NOW), Caller)
    keys.answers["corp"] = Introspected(is_active=False, said={}, until=NOW + 90)
    assert together.resolve_shown(each, keys, NOW + 40, met) is Reason.TOKEN_REVOKED


def test_nobody_is_asked_about_one_token_when_the_other_is_refused_anyway() -> None:
    keys = Held()
    del keys.sets["partner"]
    each = shown(by_partner(), None, "no token")
    assert callers().resolve_shown(each, keys, NOW) is Reason.TOKEN_MALFORMED


REFUSED_BEHIND: Final[dict[str, tuple[str, Reason]]] = {
    "nothing": ("", Reason.TOKEN_MALFORMED),
    "a blank": (" ", Reason.TOKEN_MALFORMED),
    "a scheme": (f"Bearer {by()}", Reason.TOKEN_MALFORMED),
    "two tokens": (f"{by()}, {by()}", Reason.TOKEN_MALFORMED),
    "one that is too long": (by() + "A" * 8192, Reason.TOKEN_MALFORMED),
    "one that is over": (by(iat=NOW - 900, exp=NOW - 100), Reason.TOKEN_EXPIRED),
    "one for somebody else": (by(aud="another-gateway"), Reason.TOKEN_AUDIENCE_OTHER),
    "one that another's key signed": (
        seal(header(), claims(**STAFF), a_provider(PARTNER)),
        Reason.TOKEN_SIGNATURE_WRONG,
    ),
    "one that is bound to a certificate": (by(cnf={"x5t#S256": BATCH}), Reason.TOKEN_CERTIFICATE_MISSING),
    "one with nine actors": (
        by(act=nested(9)),
        Reason.TOKEN_DELEGATION_MALFORMED,
    ),
}


@pytest.mark.parametrize(("behind", "reason"), REFUSED_BEHIND.values(), ids=REFUSED_BEHIND)
@pytest.mark.parametrize("token", [None, by()], ids=["with a certificate", "with a token and a certificate"])
def test_a_token_behind_a_caller_is_never_passed_over(token: str | None, behind: str, reason: Reason) -> None:
    together, keys = callers(), Held()
    assert isinstance(together.resolve_shown(shown(token, identity()), keys, NOW), Caller)
    assert together.resolve_shown(shown(token, identity(), behind), keys, NOW) is reason
    assert together.resolve_shown(shown(token, identity(), behind), keys, NOW, None) is reason


def test_a_token_that_binds_its_caller_binds_no_other_certificate() -> None:
    bound, keys = by(cnf={"x5t#S256": PORTAL}), Held()
    together = callers()
    assert isinstance(together.resolve_shown(shown(bound, identity(PORTAL)), keys, NOW), Caller)
    assert together.resolve_shown(shown(bound, identity()), keys, NOW) is Reason.TOKEN_CERTIFICATE_OTHER
    assert together.resolve_shown(shown(bound), keys, NOW) is Reason.TOKEN_CERTIFICATE_MISSING
    assert together.resolve_shown(shown(None, identity(PORTAL), bound), keys, NOW) is Reason.TOKEN_CERTIFICATE_MISSING


# Whoever would rather not say for whom it reads.

HIDING: Final = {
    "with its own token behind it": shown(by(**SERVICE), None, by(**SERVICE)),
    "with another service's token behind it": shown(by(**{**SERVICE, "sub": "other"}), None, by(**SERVICE)),
    "by its certificate, with a service's token behind it": shown(None, identity(PORTAL), by(**SERVICE)),
    "in a delegated token, the subject of which is a service": shown(by(**SERVICE, act={"sub": "other"})),
    "in a delegated token behind it": shown(None, identity(PORTAL), by(**SERVICE, act={"sub": "other"})),
}


@pytest.mark.parametrize("each", HIDING.values(), ids=HIDING)
def test_a_service_does_not_hide_its_user_behind_a_service(each: Shown) -> None:
    found = callers().resolve_shown(each, Held(), NOW)
    assert isinstance(found, Caller)
    assert found.on_behalf_of.principal == "corp|robot", "it is recorded"
    assert found.on_behalf_of.residence is UNKNOWN, "no service's `not applicable`, which no rule minds"
    assert found.on_behalf_of.kind is UNKNOWN
    assert isinstance(found.countries, FactSet)
    assert found.countries.is_open


def test_an_autonomous_service_behind_a_caller_is_whom_it_acts_for() -> None:
    programs = {("corp", "robot"): Client("robot", "ly", autonomous=True)}
    registers = Registers(AFFILIATES, PeopleInMemory({}), Clients(programs))
    together = Callers((an_issuer(),), registers)
    found = together.resolve_shown(shown(by(), None, by(**SERVICE)), Held(), NOW)
    assert isinstance(found, Caller)
    assert found.on_behalf_of.kind == "service"


# What was revoked.

GONE: Final = {("corp", "gone"): math.inf, ("partner", "gone"): NOW - 10, ("corp", "later"): NOW - 600}
REVOKED: Final[dict[str, tuple[Shown, bool]]] = {
    "the caller": (shown(by(sub="gone"), identity()), True),
    "the person behind": (shown(by(), identity(), by(sub="gone")), True),
    "whoever acts by a delegated token": (shown(by(act={"sub": "gone"})), True),
    "whoever passed it on": (shown(by(act={"sub": "bob", "act": {"sub": "gone"}})), True),
    "whoever acts by the token behind": (shown(by(), None, by(sub="bob", act={"sub": "gone"})), True),
    "another issuer's, by that issuer": (shown(by_partner(act={"iss": CORP, "sub": "gone"})), True),
    "the namesake of another issuer": (shown(by_partner(act={"sub": "later"})), False),
    "the partner's, by ours, before the instant": (shown(by(act={"iss": PARTNER, "sub": "gone"})), True),
    "one whose tokens of before have ended": (shown(by(act={"sub": "later"})), False),
    "an issuer's that nobody declared": (shown(by(act={"iss": "https://else.example", "sub": "gone"})), False),
    "nobody": (shown(by(act={"sub": "bob"}), identity(), None), False),
}  # fmt: skip


@pytest.mark.parametrize(("each", "is_over"), REVOKED.values(), ids=REVOKED)
def test_whose_tokens_are_revoked_takes_part_in_none(each: Shown, is_over: bool) -> None:  # noqa: FBT001
    found = callers(revoked=Revoked(subjects=GONE)).resolve_shown(each, Held(), NOW)
    assert found is Reason.TOKEN_REVOKED if is_over else isinstance(found, Caller)


def test_where_all_of_an_issuers_tokens_are_revoked_its_people_act_by_no_others() -> None:
    together = callers(revoked=Revoked(issuers={"corp": math.inf}))
    raw = by_partner(act={"iss": CORP, "sub": "bob"})
    assert together.resolve_shown(shown(raw), Held(), NOW) is Reason.TOKEN_REVOKED
    assert isinstance(together.resolve_shown(shown(by_partner()), Held(), NOW), Caller)


# Clocks.


def test_at_a_time_that_is_not_known_no_token_is_valid() -> None:
    together, keys = callers(), Held()
    for each in (shown(by()), shown(by(), identity()), shown(None, identity(), by())):
        assert isinstance(together.resolve_shown(each, keys, NOW), Caller)
        for met in (frozenset[Any](), None):
            assert together.resolve_shown(each, keys, math.nan, met) is Reason.TOKEN_EXPIRED


# Through a whole passage.


def a_checkpoint(*held: HeldCertificate, **options: Any) -> Checkpoint:
    snapshot: Snapshot = reference_bundle()
    if held:
        snapshot = msgspec.structs.replace(snapshot, authorities=(an_authority(*held),))
    recorder = Recorder(RING, snapshot.policy_digest, snapshot.registers_digest)
    return Checkpoint(snapshot, HeldKeys(snapshot), RegistryGeolocator(), recorder, **options)


def behind(*values: str, token: str | None = "", target: str = "/v1/jp/users/42") -> RequestHead:
    return a_head(target, *(("Sekisho-On-Behalf-Of", value) for value in values), token=token)


def reason_of(passage: Passage, head: RequestHead) -> Reason:
    step = passage.begin(head)
    assert isinstance(step, Refuse)
    return step.outcome.reason


FIELDS: Final[dict[str, tuple[RequestHead, Reason]]] = {
    "twice": (behind(a_token(sub="b"), a_token(sub="b")), Reason.AUTHORIZATION_REPEATED),
    "twice, where nobody is asked": (
        behind("a", "b", token=None, target="/v1/status"),
        Reason.AUTHORIZATION_REPEATED,
    ),
    "empty": (behind(""), Reason.TOKEN_MALFORMED),
    "malformed": (behind("eyJ.e.x"), Reason.TOKEN_MALFORMED),
    "alone": (behind(a_token(), token=None), Reason.TOKEN_MISSING),
    "somebody in Shanghai": (behind(a_token(ENGINEER)), Reason.RULE_DENIES),
    "for one who acts for somebody already": (
        behind(a_token(sub="b"), token=a_token(act={"sub": "c"})),
        Reason.AUTHORIZATION_FOR_TWO,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("head", "reason"), FIELDS.values(), ids=FIELDS)
def test_row_9_the_field_that_names_the_person_behind_is_refused_when_it_stands(
    head: RequestHead, reason: Reason
) -> None:
    assert reason_of(a_passage(), head) is reason


def test_a_route_that_asks_nobody_reads_no_person_behind_and_passes_none_on() -> None:
    step = a_passage().begin(behind("whatever", token=None, target="/v1/status"))
    assert isinstance(step, Forward)
    assert "whatever" not in repr(step)


def test_no_token_reaches_the_api_or_a_record() -> None:
    own, other = a_token(), a_token(sub="bob-behind")
    for head in (behind(other, token=own), behind(a_token(ENGINEER, sub="bob-behind"), token=own)):
        passage = a_passage()
        step = passage.begin(head)
        assert isinstance(step, (Forward, Refuse))
        refused = passage.fail(Reason.CLIENT_GONE)
        seen = repr(step) + repr(refused)
        assert not [secret for secret in (own, other, *own.split("."), *other.split(".")[1:]) if secret in seen]
        assert b"bob-behind" not in b"".join(map(encode_body, (*step.lines, *refused.lines)))


def test_what_is_under_way_ends_when_the_person_behind_is_revoked() -> None:
    checkpoint = a_checkpoint()
    passage = a_passage(checkpoint)
    assert isinstance(passage.begin(behind(a_token(sub="bob"))), Forward)
    assert not passage.is_denied_under(checkpoint, NOW)
    snapshot = msgspec.structs.replace(reference_bundle(), revoked=Revoked(subjects={("corp", "bob"): math.inf}))
    recorder = Recorder(RING, snapshot.policy_digest, snapshot.registers_digest)
    assert passage.is_denied_under(Checkpoint(snapshot, HeldKeys(snapshot), RegistryGeolocator(), recorder), NOW)


def test_a_forwarded_certificate_is_no_field_of_a_proxied_connection() -> None:
    """A proxy that speaks the PROXY protocol passes on what its clients write; wiring refuses to start so."""
    checkpoint = a_checkpoint(corp_ca(), client_certificate="xfcc", client_address=ClientAddress.PROXY_PROTOCOL)
    head = a_head("/v1/jp/users/42", ("X-Forwarded-Client-Cert", billing().forwarded()), token=None)
    head = msgspec.structs.replace(head, proxied=(OFFICE,))
    assert reason_of(a_passage(checkpoint), head) is Reason.TOKEN_MISSING


def test_nobody_behind_is_nobody() -> None:
    found = callers().resolve_shown(shown(by()), Held(), NOW)
    assert isinstance(found, Caller)
    assert found.on_behalf_of == NO_PERSON
