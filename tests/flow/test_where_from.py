# SPDX-License-Identifier: Apache-2.0
"""Whose address a passage is judged by, from head to decision and record, and again when geolocation changes."""

import itertools

import msgspec
import pytest

from proxy.ledger.lines import DecisionLine
from proxy.ledger.record import Recorder
from proxy.model.facts import EMPTY_SET, UNKNOWN, Fact
from proxy.model.origin import LOCAL, ClientAddress, CountrySource, DatabaseInfo, Geolocation
from proxy.model.request import RequestHead, ResponseHead
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Passage
from proxy.pipeline.steps import Forward, Refuse, Release
from tests.support.keys import RING
from tests.support.ledger import decode_decision
from tests.support.passages import NOW, HeldKeys, a_head, reference_bundle
from tests.support.world import OFFICE

PUBLIC = "198.41.0.4"
PROXY, STRANGER = "127.0.0.1", "192.0.2.9"


class AtlasOf(msgspec.Struct):
    """A geolocator that says one country of every address."""

    country: Fact[str]
    source: CountrySource = CountrySource.DATABASE
    build: str = "drawn"
    version: str = "sha256:atlas"
    databases: tuple[DatabaseInfo, ...] = ()

    def locate(self, ip: str, now: float) -> Geolocation:
        return Geolocation(self.country, self.country, "AS2500", EMPTY_SET)


def a_checkpoint(place: ClientAddress, country: Fact[str] = "JP") -> Checkpoint:
    snapshot = reference_bundle()
    atlas = AtlasOf(country)
    recorder = Recorder(RING, snapshot.digest, atlas.version)
    return Checkpoint(snapshot, HeldKeys(snapshot), atlas, recorder, client_address=place)


def head(peer: str, proxied: tuple[str, ...], *fields: tuple[str, str]) -> RequestHead:
    return msgspec.structs.replace(a_head("/v1/jp/users/42", *fields, address=None, peer=peer), proxied=proxied)


def decide(place: ClientAddress, peer: str, proxied: tuple[str, ...], *fields: tuple[str, str]) -> DecisionLine:
    passage = Passage(a_checkpoint(place), "R1", NOW)
    step = passage.begin(head(peer, proxied, *fields))
    answered = passage.answer(ResponseHead(200, ())) if isinstance(step, Forward) else step
    assert isinstance(answered, (Refuse, Release))
    return decode_decision(answered.lines[0])


EVERYWHERE = {
    ClientAddress.X_FORWARDED_FOR: ("X-Forwarded-For", f"{PUBLIC}, {OFFICE}"),
    ClientAddress.FORWARDED: ("Forwarded", f"for={PUBLIC}, for={OFFICE}"),
    ClientAddress.X_REAL_IP: ("X-Real-IP", OFFICE),
}


@pytest.mark.parametrize(("place", "written"), list(itertools.product(ClientAddress, EVERYWHERE)), ids=str)
def test_row_10_a_place_that_is_not_configured_is_not_read(place: ClientAddress, written: ClientAddress) -> None:
    said = decide(place, PROXY, (), EVERYWHERE[written]).origin.ip

    assert said == (OFFICE if place is written else "unknown")


@pytest.mark.parametrize("place", ClientAddress)
def test_row_10_a_stranger_is_who_it_is(place: ClientAddress) -> None:
    assert decide(place, STRANGER, (OFFICE,), *EVERYWHERE.values()).origin.ip == STRANGER


PROXIED = {OFFICE: OFFICE, LOCAL: PROXY, "": "unknown", PROXY: "unknown"}


@pytest.mark.parametrize(("source", "ip"), PROXIED.items())
def test_a_connection_s_header_is_believed_where_it_is_configured(source: str, ip: str) -> None:
    line = decide(ClientAddress.PROXY_PROTOCOL, PROXY, (source,), *EVERYWHERE.values())

    assert line.origin.ip == ip


@pytest.mark.parametrize("place", [place for place in ClientAddress if place is not ClientAddress.PROXY_PROTOCOL])
def test_a_word_of_the_proxy_protocol_means_nothing_elsewhere(place: ClientAddress) -> None:
    assert decide(place, PROXY, (LOCAL,)).origin.ip == "unknown"


def test_lessons_3_17_a_decision_s_record_names_the_data_that_placed_the_address() -> None:
    line = decide(ClientAddress.X_REAL_IP, PROXY, (), ("X-Real-IP", PUBLIC))

    assert (line.geolocation, line.origin.asn, line.origin.anonymous) == ("sha256:atlas", "AS2500", ())
    assert (line.origin.country, line.origin.registered_country) == ("JP", "JP")


@pytest.mark.parametrize("country", ["CN", UNKNOWN], ids=["China", "nobody knows"])
def test_a_request_under_way_is_decided_anew_by_the_data_that_are_put_in_force(country: Fact[str]) -> None:
    place = ClientAddress.X_REAL_IP
    passage = Passage(a_checkpoint(place), "R1", NOW)
    assert isinstance(passage.begin(head(PROXY, (), ("X-Real-IP", PUBLIC))), Forward)

    assert not passage.is_denied_under(a_checkpoint(place, "JP"), NOW + 1)
    assert passage.is_denied_under(a_checkpoint(place, country), NOW + 1)
