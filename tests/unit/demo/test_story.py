# SPDX-License-Identifier: Apache-2.0
"""The story against the reference bundle: every scene can be played, and every rule that is written has its scene."""

from functools import cache

import pytest

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.caller.claims import VerifiedClaims, map_claims
from proxy.caller.parties import assemble_caller
from proxy.demo.stage import REFERENCE_BUNDLE
from proxy.demo.story import CLOUD, DIRECTORY_DOWN, GHOST, IMPOSTOR, SATO, STORY, Person, Scene
from proxy.demo.views import VIEWS
from proxy.model.caller import KINDS, Caller
from proxy.model.country import NAMES
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from proxy.origin.forwarded import parse_address
from proxy.origin.geoip import RegistryGeolocator
from proxy.origin.resolve import Origins
from proxy.pipeline.answers import ANSWERS
from proxy.request.catalog import Match
from proxy.request.target import parse_target

ALL = (*STORY, *DIRECTORY_DOWN, *(view.scene for view in VIEWS))
PEOPLE = {scene.person.sub: scene.person for scene in ALL if scene.person is not None}
SCENES = pytest.mark.parametrize("scene", [pytest.param(scene, id=scene.title) for scene in ALL])
REASONS = {str(reason) for reason in Reason}


@cache
def snapshot() -> Snapshot:
    return load_bundle(REFERENCE_BUNDLE)


@cache
def origins() -> Origins:
    return Origins(snapshot().networks, snapshot().proxies, RegistryGeolocator())


def rules() -> dict[str, bool]:
    """Return whether each rule allows, by id."""
    policy = snapshot().policy
    return {rule.id: False for rule in policy.denies} | {rule.id: True for rule in policy.allows}


def resolve(person: Person) -> Caller:
    issuer = next(issuer for issuer in snapshot().issuers if issuer.id == person.issuer)
    facts = map_claims(issuer, VerifiedClaims(person.claims()))
    return assemble_caller(issuer, facts, snapshot().affiliates.current, principal=person.sub)


@SCENES
def test_what_must_come_of_a_scene_is_a_rule_or_a_reason_that_fits_its_status(scene: Scene) -> None:
    if scene.by in REASONS:
        assert ANSWERS[Reason(scene.by)].status == scene.status
    elif scene.by == "default":
        assert scene.status == 403
    else:
        assert rules()[scene.by] == (scene.status < 300)


@SCENES
def test_the_address_of_a_scene_is_one_whose_country_is_known(scene: Scene) -> None:
    hops = scene.forwarded_for.split(", ")
    assert [hop for hop in hops if parse_address(hop) is None] == []
    assert origins().resolve(("127.0.0.1", scene.forwarded_for), 0.0).country in NAMES


@SCENES
def test_the_request_of_a_scene_is_declared_unless_that_is_the_point(scene: Scene) -> None:
    method, _, raw = scene.request.partition(" ")
    target = parse_target(raw)
    if isinstance(target, Reason):
        assert scene.by == target
        return
    found = snapshot().catalog.match(snapshot().catalog.apis[0], method, target.segments)
    if isinstance(found, Match):
        assert scene.by not in {Reason.ROUTE_UNDECLARED, Reason.METHOD_UNDECLARED}
    else:
        assert scene.by == found.reason


def test_titles_tell_scenes_apart() -> None:
    assert len({scene.title for scene in ALL}) == len(ALL)


def test_every_deny_rule_stops_somebody_and_most_allow_rules_let_somebody_in() -> None:
    told = {scene.by for scene in ALL}
    of_a_view = {"jp-payments-stay-in-japan"}  # it takes fields of records, and lets the answer leave
    assert {rule for rule, allows in rules().items() if not allows} - told == of_a_view
    assert {rule for rule, allows in rules().items() if allows} - told <= {"status-is-public", "home-exports-japan"}


def test_the_story_has_allowed_and_denied_scenes_and_one_of_each_rung() -> None:
    assert {scene.status for scene in STORY} >= {200, 204, 400, 401, 403, 404, 405}
    assert {scene.token for scene in STORY} == {"good", "expired", "forged"}


# The people.


@pytest.mark.parametrize("person", [pytest.param(person, id=name) for name, person in PEOPLE.items()])
def test_a_person_is_read_from_the_claims_of_their_issuer(person: Person) -> None:
    caller = resolve(person)
    assert (caller.kind, caller.residence) == (person.kind, person.residence)
    assert person.kind in KINDS
    assert person.residence in NAMES
    declared = person not in (GHOST, IMPOSTOR)
    assert caller.affiliate == (person.affiliate if declared else UNKNOWN)


def test_each_person_is_one() -> None:
    everybody = [scene.person for scene in ALL if scene.person is not None]
    assert {person.sub: person for person in everybody} == {person.sub: person for person in reversed(everybody)}


def test_claims_are_written_as_the_issuer_writes_them() -> None:
    assert SATO.claims() == {
        "sub": "sato",
        "affiliate": "ly",
        "employment_type": "employee",
        "residence_country": "JP",
        "groups": [],
    }
    assert (CLOUD.claims()["company"], "affiliate" in CLOUD.claims()) == ("naver-cloud", False)
