# SPDX-License-Identifier: Apache-2.0
"""Where data are kept: an API served in several countries, and a rule that from a date on some data stay in one.

The rule is LY's of 2021: Japanese users' images and payment history, kept in South Korea until then, are kept in Japan.
"""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.ledger.options import LedgerOptions
from proxy.ledger.record import Recorder
from proxy.lifecycle.standing import describe_start
from proxy.model.decision import Reason
from proxy.origin.geoip import RegistryGeolocator
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Passage
from proxy.pipeline.steps import Forward, Refuse, Step
from tests.support.command import write_policies
from tests.support.keys import RING
from tests.support.passages import REQUEST_ID, HeldKeys, a_head, read_lines
from tests.support.world import ISSUERS, POLICIES, STAFF

KOREA: Final = "http://127.0.0.1:9000"
JAPAN: Final = "http://127.0.0.1:9081"
DAY: Final = 86400.0
MOVE: Final = dt.datetime(2021, 9, 1, tzinfo=dt.timezone(dt.timedelta(hours=9))).timestamp()
BEFORE: Final = MOVE - DAY
AFTER: Final = MOVE + DAY

_APIS: Final = (POLICIES / "apis" / "users.yaml").read_text(encoding="utf-8")
SERVED: Final = _APIS[_APIS.index("    upstreams:") : _APIS.index("    routes:")]
"""Where the reference bundle says that its API is served."""
IN_KOREA: Final = f'    upstream: {{url: "{KOREA}", hosted_in: KR}}\n'
IN_BOTH: Final = f"""\
    upstreams:
      JP: {{url: "{JAPAN}", hosted_in: JP}}
      default: {{url: "{KOREA}", hosted_in: KR}}
"""
ROUTES: Final = """\
    routes:
      - id: cards
        methods: [GET]
        path: /v1/{country}/cards/{user_id}
        action: read
        subject: {country: "{country}", id: "{user_id}", authoritative: {by: users-team, review_by: 2027-06-30}}
        parameters: {country: "[a-z]{2}"}
        fields: {"$.history[*].card": user.financial, "$.name": user.name}
      - id: add-image
        methods: [POST]
        path: /v1/{country}/images/{user_id}
        action: create
        subject: {country: "{country}", id: "{user_id}", authoritative: {by: users-team, review_by: 2027-06-30}}
        parameters: {country: "[a-z]{2}"}
        fields: {"$.data": user.content.private.image}
      - id: anything
        methods: [GET]
        path: /v1/{country}/anything/{user_id}
        action: read
        subject: {country: "{country}", id: "{user_id}", authoritative: {by: users-team, review_by: 2027-06-30}}
        parameters: {country: "[a-z]{2}"}
"""
RULES: Final = """\
rules:
  - id: jp-kept-in-japan
    effect: deny
    title: Japanese users' images and payment history are kept in Japan
    when:
      subject.country: JP
      resource.data: {any: [user.financial, user.content.private.image]}
      resource.hosted_in: {none: [JP]}
    effective: {from: 2021-09-01T00:00:00+09:00}
  - {id: staff, effect: allow, when: {caller.affiliate: ly}}
"""
CARDS, PROFILE, ANYTHING = "cards", "users", "anything"


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Snapshot]:
    """Return what loads the reference bundle with these routes and rules, served somewhere."""

    def make(served: str, **urls: str) -> Snapshot:
        folder = write_policies(
            tmp_path / "policies", ("apis/users.yaml", SERVED, served), ("apis/users.yaml", "    routes:\n", ROUTES),
            ("rules/allow.yaml", "rules:\n", RULES),
        )  # fmt: skip
        return load_bundle(folder, {name.replace("_", "/"): url for name, url in urls.items()})

    return make


def ask(snapshot: Snapshot, what: str, country: str = "jp", at: float = AFTER, method: str = "GET") -> Step:
    recorder = Recorder(RING, snapshot.digest)
    checkpoint = Checkpoint(snapshot, HeldKeys(snapshot), RegistryGeolocator(), recorder)
    claims: dict[str, Any] = dict(STAFF)
    token = ISSUERS["corp"].token(at, **claims)
    return Passage(checkpoint, REQUEST_ID, at).begin(a_head(f"/v1/{country}/{what}/42", method=method, token=token))


def place(step: Step) -> str:
    """Return where a request goes, or why it does not."""
    if isinstance(step, Refuse):
        return step.outcome.reason
    assert isinstance(step, Forward)
    host = dict(read_lines(step.fields))["Host"]
    assert step.upstream.url.endswith(f"//{host}"), "it is called what it is"
    return step.upstream.url


READ: Final = ("cards", "GET")
WRITE: Final = ("images", "POST")


@pytest.mark.parametrize(("what", "method"), [pytest.param(*READ, id="a read"), pytest.param(*WRITE, id="a write")])
class TestKeptInJapanFromADateOn:
    def test_until_then_it_goes_where_it_is(self, load: Callable[..., Snapshot], what: str, method: str) -> None:
        assert place(ask(load(IN_KOREA), what, at=BEFORE, method=method)) == KOREA

    def test_from_then_on_it_does_not(self, load: Callable[..., Snapshot], what: str, method: str) -> None:
        step = ask(load(IN_KOREA), what, method=method)
        assert isinstance(step, Refuse)
        assert step.outcome.reason is Reason.RULE_DENIES
        assert step.outcome.decision is not None
        assert step.outcome.decision.rule_id == "jp-kept-in-japan"

    def test_once_it_is_served_in_japan_it_goes_there(
        self, load: Callable[..., Snapshot], what: str, method: str
    ) -> None:
        snapshot = load(IN_BOTH)
        assert [place(ask(snapshot, what, at=at, method=method)) for at in (BEFORE, AFTER)] == [JAPAN, JAPAN]

    def test_others_are_where_they_were(self, load: Callable[..., Snapshot], what: str, method: str) -> None:
        snapshot = load(IN_BOTH)
        assert [place(ask(snapshot, what, "tw", at, method)) for at in (BEFORE, AFTER)] == [KOREA, KOREA]

    def test_where_it_is_served_is_not_known_it_does_not_go(
        self, load: Callable[..., Snapshot], what: str, method: str
    ) -> None:
        step = ask(load(IN_KOREA.replace(", hosted_in: KR", "")), what, method=method)
        assert isinstance(step, Refuse)
        assert step.outcome.decision is not None
        assert step.outcome.decision.unknown == ("resource.hosted_in",)


def test_other_data_stay_where_they_are(load: Callable[..., Snapshot]) -> None:
    assert place(ask(load(IN_KOREA), PROFILE)) == KOREA


def test_a_route_that_does_not_say_what_it_carries_may_carry_them(load: Callable[..., Snapshot]) -> None:
    assert place(ask(load(IN_KOREA), ANYTHING)) == Reason.RULE_DENIES


def test_a_deployment_moves_a_place_and_not_the_country_that_it_is_in(load: Callable[..., Snapshot]) -> None:
    elsewhere = "https://jp.users.internal"
    snapshot = load(IN_BOTH, users_JP=elsewhere)
    assert place(ask(snapshot, CARDS)) == elsewhere
    assert place(ask(snapshot, CARDS, "tw")) == KOREA


def test_the_ledger_says_where_each_place_is(load: Callable[..., Snapshot]) -> None:
    class Keys:
        def place(self, _issuer: str) -> str:
            return "https://idp"

    snapshot = load(IN_BOTH)
    start = describe_start(snapshot, Keys(), RegistryGeolocator(), LedgerOptions())  # type: ignore[arg-type]
    assert start.upstreams == {"users": KOREA, "users/JP": JAPAN}
