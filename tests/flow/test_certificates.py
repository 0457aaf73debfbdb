# SPDX-License-Identifier: Apache-2.0
"""A passage whose caller shows a certificate: the order of answers, and what a new bundle makes of it."""

import msgspec
import pytest

from proxy.bundle.snapshot import Snapshot
from proxy.caller.authorities import Authority
from proxy.caller.clients import Client, Clients
from proxy.ledger.entry import encode_body
from proxy.ledger.record import Recorder
from proxy.model.decision import Reason
from proxy.model.request import RequestHead
from proxy.origin.geoip import RegistryGeolocator
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.steps import Forward, Refuse
from tests.support.certificates import BILLING, Held, a_leaf, a_list, an_authority, billing, corp_ca, partner_ca
from tests.support.keys import RING
from tests.support.passages import HeldKeys, a_head, a_passage, reference_bundle


def a_checkpoint(*authorities: Authority, source: str = "tls") -> Checkpoint:
    clients = Clients({("mesh", BILLING): Client("billing", "ly", autonomous=False)})
    snapshot: Snapshot = msgspec.structs.replace(reference_bundle(), authorities=authorities, clients=clients)
    recorder = Recorder(RING, snapshot.policy_digest, snapshot.registers_digest)
    return Checkpoint(snapshot, HeldKeys(snapshot), RegistryGeolocator(), recorder, client_certificate=source)


def shown(held: Held | None, head: RequestHead) -> RequestHead:
    return msgspec.structs.replace(head, certificate=held.der if held else None)


def reason_of(checkpoint: Checkpoint, head: RequestHead) -> Reason:
    step = a_passage(checkpoint).begin(head)
    assert isinstance(step, Refuse)
    return step.outcome.reason


BAD = a_leaf(partner_ca(), BILLING)
ORDER = {
    "a target that is ambiguous comes first": (a_head("/v1//jp/users/42"), BAD, Reason.TARGET_EMPTY_SEGMENT),
    "then who asks, by the certificate": (a_head(), BAD, Reason.CERTIFICATE_AUTHORITY_UNDECLARED),
    "also where there is no such route": (a_head("/v1/none"), BAD, Reason.CERTIFICATE_AUTHORITY_UNDECLARED),
    "then credentials that are malformed": (
        a_head("/v1/jp/users/42", ("Authorization", "Basic x"), token=None),
        billing(),
        Reason.AUTHORIZATION_MALFORMED,
    ),
    "then whether there is such a route": (a_head("/v1/none", token=None), billing(), Reason.ROUTE_UNDECLARED),
    "then the policy: nobody knows whose service it is": (a_head(token=None), billing(), Reason.RULE_DENIES),
}


@pytest.mark.parametrize(("head", "held", "reason"), ORDER.values(), ids=ORDER)
def test_the_ladder_of_answers(head: RequestHead, held: Held, reason: Reason) -> None:
    assert reason_of(a_checkpoint(an_authority(corp_ca())), shown(held, head)) == reason


def test_an_unauthenticated_route_asks_for_no_certificate_and_minds_none() -> None:
    for held in (None, billing(), BAD):
        step = a_passage(a_checkpoint()).begin(shown(held, a_head("/v1/status", token=None)))
        assert isinstance(step, Forward)


def test_a_certificate_is_recorded_by_a_pseudonym() -> None:
    step = a_passage(a_checkpoint(an_authority(corp_ca()))).begin(shown(billing(), a_head(token=None)))
    assert isinstance(step, Refuse)
    assert step.outcome.caller.principal == f"mesh|{BILLING}"
    assert BILLING.encode() not in b"".join(map(encode_body, step.lines))


def test_what_is_under_way_is_denied_once_its_certificate_is_nobodys() -> None:
    checkpoint = a_checkpoint(an_authority(corp_ca()))
    passage = a_passage(checkpoint)
    assert isinstance(passage.begin(shown(billing(), a_head())), Forward)
    revoked = an_authority(corp_ca(), lists=[a_list(corp_ca(), billing().certificate.serial_number)])
    now = passage._now
    assert not passage.is_denied_under(checkpoint, now)
    assert passage.is_denied_under(a_checkpoint(revoked), now)
    assert passage.is_denied_under(a_checkpoint(), now)


def test_what_is_under_way_is_denied_once_the_forwarded_certificate_is_nobodys() -> None:
    head = a_head("/v1/jp/users/42", ("X-Forwarded-Client-Cert", billing().forwarded()))
    passage = a_passage(a_checkpoint(an_authority(corp_ca()), source="xfcc"))
    assert isinstance(passage.begin(head), Forward)
    assert passage.is_denied_under(a_checkpoint(source="xfcc"), passage._now)


PEERS = {
    "a trusted peer": ("127.0.0.1", "xfcc", Reason.FORWARDED_CERTIFICATE_MALFORMED),
    "an untrusted peer": ("10.9.9.9", "xfcc", Reason.TOKEN_MISSING),
    "a peer of no address": ("", "xfcc", Reason.TOKEN_MISSING),
    "a trusted peer, where identity comes from TLS": ("127.0.0.1", "tls", Reason.TOKEN_MISSING),
}


@pytest.mark.parametrize(("peer", "source", "reason"), PEERS.values(), ids=PEERS)
def test_lesson_10_a_forwarded_certificate_is_read_from_a_trusted_peer_alone(
    peer: str, source: str, reason: Reason
) -> None:
    head = a_head("/v1/jp/users/42", ("X-Forwarded-Client-Cert", "x"), token=None, peer=peer)
    assert reason_of(a_checkpoint(an_authority(corp_ca()), source=source), head) == reason
