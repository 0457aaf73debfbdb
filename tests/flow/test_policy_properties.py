# SPDX-License-Identifier: Apache-2.0
"""What must hold of any bundle: whatever goes missing from it or from a token, nobody is let in by that."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.caller.claims import VerifiedClaims
from proxy.caller.parties import join
from proxy.caller.people import Engagement, PeopleInMemory
from proxy.caller.speaking import Registers, speak
from proxy.errors import BundleError
from proxy.model.decision import Decision, Effect
from proxy.model.facts import UNKNOWN, FactSet
from proxy.model.origin import CountrySource, DatabaseInfo, Geolocation
from proxy.model.subject import Subject
from proxy.origin.forwarded import parse_address
from proxy.origin.resolve import Origins
from proxy.policy.attributes import Facts
from proxy.policy.evaluate import decide
from tests.support.bundle_folder import SMALL, write_bundle
from tests.support.policy_draws import less_known
from tests.support.policy_facts import NOW

CHECKED: Final = settings(
    max_examples=30,
)

COUNTRIES: Final = ("JP", "CN", "KR")
KINDS_OF_TIES: Final = ("employer", "residence", "site", "control", "principal")


class AtlasOf(msgspec.Struct):
    """A geolocation source that says one thing of every address, or nothing."""

    country: Any
    source: CountrySource = CountrySource.DATABASE
    build: str = "drawn"
    version: str = "drawn"
    databases: tuple[DatabaseInfo, ...] = ()

    def locate(self, ip: str, now: float) -> Geolocation:
        return Geolocation(self.country, self.country)


# Building blocks.

_VALUES: Final = st.lists(st.sampled_from(COUNTRIES), min_size=1, max_size=2, unique=True)
_BY: Final = st.sampled_from((None, ["employer"], ["residence"], ["control"], ["control.majority"], ["principal"]))


def _set_of(matchers: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda matcher, values: {matcher: values}, st.sampled_from(matchers), _VALUES)


def _ties(matchers: tuple[str, ...]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    with_by = st.builds(lambda line, by: line if by is None else {**line, "by": by}, _set_of(matchers), _BY)
    return st.tuples(st.just("caller.countries"), with_by) | st.tuples(
        st.just("caller.control.majority.countries"), _set_of(matchers)
    )


_COUNTRY: Final = st.sampled_from(COUNTRIES) | _set_of(("any", "none"))
_PLAIN: Final = st.one_of(
    st.tuples(st.sampled_from(("caller.residence", "caller.affiliate_country", "origin.country")), _COUNTRY),
    st.tuples(st.just("caller.citizenships"), _set_of(("any", "none", "only"))),
    st.tuples(st.just("caller.kind"), st.sampled_from(("employee", "service", {"not": "contractor"}))),
    st.tuples(st.just("caller.on_behalf_of.kind"), st.sampled_from(("employee", {"exists": "false"}))),
    st.tuples(st.just("caller.on_behalf_of.affiliate"), st.sampled_from(("a0", {"none": ["a1"]}))),
    st.tuples(st.just("caller.affiliate"), st.sampled_from(("a0", {"none": ["a1"]}, {"glob": "a*"}))),
    st.tuples(st.just("caller.affiliate_roles"), st.sampled_from(({"any": ["parent"]}, {"none": ["contractor"]}))),
    st.tuples(st.just("caller.roles"), st.sampled_from(({"any": ["x"]}, {"none": ["x"]}, {"only": ["x"]}))),
    st.tuples(st.just("origin.network"), st.sampled_from(("n0", {"none": ["n1"]}))),
    st.tuples(st.just("subject.country"), _COUNTRY),
    st.tuples(st.just("expr"), st.sampled_from(("caller.residence == origin.country", '!("x" in caller.roles)'))),
)


def _lines(*, speaks_for: bool, least: int) -> st.SearchStrategy[dict[str, Any]]:
    ties = _ties(("none", "only") if speaks_for else ("any", "has_all"))
    return st.lists(_PLAIN | ties, min_size=least, max_size=2).map(lambda drawn: dict(drawn) or {"always": "true"})


@st.composite
def _rule(draw: st.DrawFn, id_: str, effect: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"id": id_, "effect": effect}
    rule["when"] = draw(_lines(speaks_for=effect == "allow", least=0))
    if draw(st.integers(0, 3)) == 0:
        rule["unless"] = [draw(_lines(speaks_for=effect != "allow", least=1))]
        assume("always" not in rule["unless"][0])
    if effect == "mask":
        rule["transforms"] = {"user.name": draw(st.sampled_from(("redact", "mask", "remove")))}
    return rule


@st.composite
def _affiliates(draw: st.DrawFn) -> list[dict[str, Any]]:
    size = draw(st.integers(2, 4))
    rows: list[dict[str, Any]] = []
    for place in range(size):
        row: dict[str, Any] = {"id": f"a{place}", "country": draw(st.sampled_from(COUNTRIES))}
        row["roles"] = draw(st.lists(st.sampled_from(("parent", "contractor")), max_size=1))
        owners = draw(
            st.lists(st.sampled_from([other for other in range(size) if other != place]), max_size=2, unique=True)
        )
        shares = draw(st.sampled_from((("60", "40"), ("50", "50"), ("30", "30"), ("20", "10"))))
        if owners:
            row["owners"] = [{"id": f"a{o}", "share": share} for o, share in zip(owners, shares, strict=False)]
        total = sum(int(share) for share in shares[: len(owners)])
        if draw(st.booleans()) and (not owners or total == 100):
            row["owners_complete"] = "true"
        if draw(st.booleans()):
            row["works_for"] = [f"a{o}" for o in range(place) if draw(st.integers(0, 2)) == 0]
        if draw(st.integers(0, 3)) == 0:
            row["shares_accounts"] = "true"
        rows.append(row)
    if draw(st.booleans()):
        rows[0]["home"] = "true"
    return rows


class World(msgspec.Struct):
    """The registers of a bundle, and one request."""

    manifest: dict[str, Any]
    parties: dict[str, Any]
    rules: list[dict[str, Any]]
    claims: dict[str, Any]
    address: str
    atlas: Any
    subject: str
    people: Mapping[tuple[str, str], tuple[Engagement, ...]] = {}

    def files(self) -> dict[str, str]:
        """Return the bundle's files: JSON is YAML."""
        return {
            "bundle.yaml": json.dumps(self.manifest),
            "parties.yaml": json.dumps(self.parties),
            "apis.yaml": SMALL["apis.yaml"],
            "rules.yaml": json.dumps({"rules": self.rules}),
        }


_NEEDED: Final = st.sampled_from(("optional", "required"))


def _row(ids: st.SearchStrategy[str]) -> st.SearchStrategy[Engagement]:
    place = st.sampled_from((*COUNTRIES, UNKNOWN))
    return st.builds(
        Engagement,
        affiliate=ids,
        kind=st.sampled_from(("employee", "contractor", UNKNOWN)),
        residence=place,
        site_country=place,
        citizenships=st.just(UNKNOWN) | st.builds(lambda one: FactSet(frozenset({one})), st.sampled_from(COUNTRIES)),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw a bundle and a request."""
    affiliates = draw(_affiliates())
    effects = draw(st.lists(st.sampled_from(("allow", "allow", "deny", "mask")), min_size=1, max_size=3))
    rules = [draw(_rule(f"r{place}", effect)) for place, effect in enumerate(["allow", *effects])]
    networks = [
        {"id": f"n{place}", "cidr": [f"10.{place}.0.0/16"], "country": draw(st.sampled_from(COUNTRIES))}
        for place in range(2)
    ]
    mapped = ("affiliate", "kind", "residence", "site_country", "citizenships", "roles")
    issuer = {
        "id": "corp", "operated_by": "a0", "issuer": "https://idp.example.jp", "audience": ["gateway"],
        "jwks": "https://idp.example.jp/jwks.json", "algorithms": ["ES256"], "may_assert": {"affiliate": "any"},
        "attributes": {name: name for name in (*mapped, *(["client"] if draw(st.booleans()) else []))},
        "people": draw(_NEEDED), "clients": draw(_NEEDED),
    }  # fmt: skip
    ids = st.sampled_from([row["id"] for row in affiliates])
    clients = [{"id": name, "issuer": "corp", "client": name, "affiliate": draw(ids)} for name in ("console", "tool")]
    people = {("corp", name): (draw(_row(ids)),) for name in ("somebody", "eve") if draw(st.booleans())}
    claims = {
        "sub": "somebody",
        **draw(st.sampled_from(({}, {}, {"act": {"sub": "eve"}}, {"act": {"sub": "console"}}))),
        "client": draw(st.sampled_from(("console", "tool", "web"))),
        "affiliate": draw(st.sampled_from([row["id"] for row in affiliates])),
        "kind": draw(st.sampled_from(("employee", "employee", "contractor", "service"))),
        "residence": draw(st.sampled_from(COUNTRIES)),
        "site_country": draw(st.sampled_from(COUNTRIES)),
        "citizenships": draw(st.lists(st.sampled_from(COUNTRIES), max_size=2, unique=True)),
        "roles": draw(st.lists(st.sampled_from(("x", "y")), max_size=2, unique=True)),
    }
    files = {"parties.yaml": ["issuers", "affiliates", "control_rules", "networks", "clients"], "apis.yaml": ["apis"]}
    return World(
        people=people,
        manifest={
            "language": "1",
            "bundle": "drawn",
            "ties": ["employer", *draw(st.lists(st.sampled_from(KINDS_OF_TIES[1:]), unique=True))],
            "files": {**files, "rules.yaml": ["rules"]},
        },
        parties={
            "issuers": [issuer],
            "affiliates": affiliates,
            "control_rules": [{"id": "majority", "threshold": "50", "default": "true"}],
            "clients": clients,
            "networks": networks,
        },
        rules=rules,
        claims=claims,
        address=draw(st.sampled_from(("10.0.0.7", "10.1.0.7", "8.8.8.8"))),
        atlas=draw(st.sampled_from(COUNTRIES)),
        subject=draw(st.sampled_from(COUNTRIES)),
    )


# From a bundle to a decision, through the rooms that a request goes through.


def load(world: World) -> Snapshot | None:
    """Return the bundle, None if it does not load."""
    with TemporaryDirectory() as folder:
        try:
            return load_bundle(write_bundle(Path(folder), world.files()))
        except BundleError:
            return None


def facts_in(snapshot: Snapshot, world: World) -> Facts:
    """Return the facts of the world's request."""
    (issuer,) = snapshot.issuers
    registers = Registers(snapshot.affiliates, PeopleInMemory(world.people), snapshot.clients)
    found = speak(issuer, VerifiedClaims(world.claims), {issuer.issuer: issuer}, registers, NOW)
    caller = join(found, registers.at(NOW))
    address = parse_address(world.address)
    assert address is not None
    origin = Origins(snapshot.networks, snapshot.proxies, AtlasOf(world.atlas)).locate(address, NOW)
    subject = Subject(country=world.subject, id="42")
    return Facts(caller, origin, subject, next(snapshot.every_resource), time=NOW)


def decided(world: World) -> Decision | None:
    """Return what the world's request comes to; None if its bundle does not load."""
    snapshot = load(world)
    return None if snapshot is None else decide(snapshot.policy, facts_in(snapshot, world))


def poorer(world: World) -> Iterator[tuple[str, World]]:
    """Yield the world with one claim, row, edge, network or answer of the geolocation less."""
    for claim in sorted(world.claims.keys() - {"sub", "act"}):  # without `act` it is another's own token
        rest = {name: value for name, value in world.claims.items() if name != claim}
        yield f"the claim {claim}", msgspec.structs.replace(world, claims=rest)
    yield "the geolocation", msgspec.structs.replace(world, atlas=UNKNOWN)
    issuer = world.parties["issuers"][0]
    if issuer.get("people") == "required":
        for name in world.people:
            rest_of = {other: rows for other, rows in world.people.items() if other != name}
            yield f"the row of {name}", msgspec.structs.replace(world, people=rest_of)
    is_needed = issuer.get("people") == issuer.get("clients") == "required"
    for register in ("affiliates", "networks", *(["clients"] if is_needed else [])):
        for place, row in enumerate(world.parties[register]):
            less = deepcopy(world)
            del less.parties[register][place]
            yield f"{register} {row['id']}", less
    for place, row in enumerate(world.parties["affiliates"]):
        for edge in range(len(row.get("owners", ()))):
            less = deepcopy(world)
            owners = less.parties["affiliates"][place]["owners"]
            gone = owners.pop(edge)
            if not owners:
                del less.parties["affiliates"][place]["owners"]
            yield f"owner {gone['id']} of {row['id']}", less


def _show(world: World) -> str:
    return json.dumps({**world.files(), "claims": world.claims, "from": world.address}, indent=1, default=str)


@settings(parent=CHECKED, max_examples=60)
@given(worlds())
def test_what_goes_missing_lets_nobody_in(world: World) -> None:
    before = decided(world)
    assume(before is not None)
    assert before is not None
    for what, less in poorer(world):
        after = decided(less) if before.effect is Effect.DENY or before.transforms else None
        if after is None or after.effect is Effect.DENY:
            continue
        assert before.effect is Effect.ALLOW, f"without {what} it is let in: {_show(world)}"
        assert before.transforms.keys() <= after.transforms.keys(), f"without {what} it is bare: {_show(world)}"


STAFF: Final = {"id": "staff", "effect": "allow", "when": {"caller.affiliate": "a0"}}
NOT_CHINESE: Final = {"id": "d", "effect": "deny", "when": {"caller.countries": {"any": ["CN"]}}}
HANDED_ON: Final = {"any": ["CN"], "by": ["subcontractor"]}


def a_world(*rules: dict[str, Any], affiliates: list[dict[str, Any]] | None = None, **claims: str) -> World:
    """Return a small world with these rules."""
    said = {"sub": "somebody", "affiliate": "a0", "kind": "employee", "residence": "JP", **claims}
    issuer = {
        "id": "corp", "operated_by": "a0", "issuer": "https://idp.example.jp", "audience": ["gateway"],
        "jwks": "https://idp.example.jp/jwks.json", "algorithms": ["ES256"], "may_assert": {"affiliate": "any"},
        "attributes": {name: name for name in ("affiliate", "kind", "residence")},
    }  # fmt: skip
    files = {"parties.yaml": ["issuers", "affiliates", "control_rules", "networks"], "apis.yaml": ["apis"]}
    return World(
        manifest={
            "language": "1",
            "bundle": "drawn",
            "ties": ["employer", "control"],
            "files": {**files, "rules.yaml": ["rules"]},
        },
        parties={
            "issuers": [issuer],
            "affiliates": affiliates or [{"id": "a0", "country": "JP", "home": "true"}],
            "control_rules": [{"id": "majority", "threshold": "50", "default": "true"}],
            "networks": [{"id": "n0", "cidr": ["10.0.0.0/16"], "country": "CN"}],
        },
        rules=[*rules],
        claims=said,
        address="10.0.0.7",
        atlas="JP",
        subject="JP",
    )


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(
            a_world({"id": "a", "effect": "allow", "when": {"caller.residence": "JP"}}, kind="service"),
            id="a service that leaves out that it is one",
        ),
        pytest.param(
            a_world(STAFF, {"id": "d", "effect": "deny", "when": {"origin.country": "CN"}}), id="a private network"
        ),
        pytest.param(
            a_world(
                STAFF,
                NOT_CHINESE,
                affiliates=[
                    {"id": "a0", "country": "JP", "owners": [{"id": "a1", "share": "60"}, {"id": "a2", "share": "40"}]},
                    {"id": "a1", "country": "CN"},
                    {"id": "a2", "country": "JP"},
                ],
            ),
            id="the owner that controls",
        ),
        pytest.param(
            a_world(
                STAFF,
                NOT_CHINESE,
                affiliates=[
                    {"id": "a0", "country": "JP", "owners_complete": "true", "owners": [
                        {"id": "a1", "share": "60"}, {"id": "a2", "share": "40"}]},
                    {"id": "a1", "country": "CN"},
                    {"id": "a2", "country": "JP"},
                ],
            ),
            id="an owner of a list that says it is complete",
        ),
        pytest.param(
            a_world(
                STAFF,
                {"id": "d", "effect": "deny", "when": {"caller.countries": HANDED_ON}},
                affiliates=[
                    {"id": "a0", "country": "JP", "home": "true"},
                    {"id": "a1", "country": "CN", "works_for": ["a0"]},
                ],
            ),
            id="a subcontractor",
        ),
    ],
)  # fmt: skip
def test_what_once_let_somebody_in_by_going_missing(world: World) -> None:
    before = decided(world)
    assert before is not None
    assert before.effect is Effect.DENY
    for what, less in poorer(world):
        after = decided(less)
        assert after is None or after.effect is Effect.DENY, f"without {what}"


@settings(parent=CHECKED, max_examples=60)
@given(worlds())
def test_a_fact_that_becomes_unknown_lets_nobody_in(world: World) -> None:
    snapshot = load(world)
    assume(snapshot is not None)
    assert snapshot is not None
    facts = facts_in(snapshot, world)
    if decide(snapshot.policy, facts).effect is Effect.DENY:
        for what, less in less_known(facts):
            if not what.startswith("tie "):  # ties that count are drawn here: the test below is about ties
                assert decide(snapshot.policy, less).effect is Effect.DENY, f"without {what}: {_show(world)}"


def entangled(world: World) -> Iterator[tuple[str, World]]:
    """Yield the world with the caller's affiliate tied to one more country, by a row that was not there."""
    for country in COUNTRIES:
        more = deepcopy(world)
        more.parties["affiliates"].append({"id": "newcomer", "country": country})
        row: Mapping[str, Any] = next(r for r in more.parties["affiliates"] if r["id"] == world.claims["affiliate"])
        if "works_for" in row:
            row["works_for"].append("newcomer")
            yield f"working for somebody in {country}", more


@CHECKED
@given(worlds())
def test_one_more_tie_lets_nobody_in(world: World) -> None:
    before = decided(world)
    assume(before is not None and before.effect is Effect.DENY)
    for what, more in entangled(world):
        after = decided(more)
        assert after is None or after.effect is Effect.DENY, f"{what}: {_show(world)}"


@CHECKED
@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_files_does_not_matter(world: World, chance: Any) -> None:
    before = decided(world)
    turned = deepcopy(world)
    for rows in (turned.rules, turned.parties["affiliates"], turned.parties["networks"], turned.manifest["ties"]):
        chance.shuffle(rows)
    apart = turned.files()
    half = len(turned.rules) // 2
    apart["rules.yaml"] = json.dumps({"rules": turned.rules[:half]}) if half else "rules: []"
    apart["a-rules.yaml"] = json.dumps({"rules": turned.rules[half:]})
    manifest = deepcopy(turned.manifest)
    manifest["files"] = {"a-rules.yaml": ["rules"], **manifest["files"]}
    apart["bundle.yaml"] = json.dumps(manifest)
    assert decided(turned) == before
    with TemporaryDirectory() as folder:
        try:
            snapshot = load_bundle(write_bundle(Path(folder), apart))
        except BundleError:
            assert before is None
            return
    assert decide(snapshot.policy, facts_in(snapshot, turned)) == before


@CHECKED
@given(worlds(), st.sampled_from(("deny", "mask")).flatmap(lambda effect: _rule("more", effect)))
def test_one_more_deny_or_mask_lets_nobody_in(world: World, rule: dict[str, Any]) -> None:
    before = decided(world)
    assume(before is not None)
    assert before is not None
    after = decided(msgspec.structs.replace(world, rules=[*world.rules, rule]))
    if after is not None and after.effect is Effect.ALLOW:
        assert before.effect is Effect.ALLOW, _show(world)
        assert before.transforms.keys() <= after.transforms.keys()


def test_what_is_drawn_is_not_all_of_one_kind() -> None:
    # Guards the properties above: bundles that never load, or never allow, would pass them all.
    seen: list[str] = []

    @settings(parent=CHECKED, max_examples=50)
    @given(worlds())
    def look(world: World) -> None:
        decision = decided(world)
        seen.append("none" if decision is None else f"{decision.effect}{' masked' if decision.transforms else ''}")

    look()
    assert {"allow", "deny", "allow masked"} <= set(seen)
    assert seen.count("none") < len(seen) / 2
