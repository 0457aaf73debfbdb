# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import msgspec
import pytest

from proxy.caller.resolve import Callers
from proxy.ledger.entry import encode_body
from proxy.ledger.lines import EndLine
from proxy.model.decision import Effect, Reason
from proxy.model.request import VARYING, Headers, ResponseHead
from proxy.pipeline import checkpoint, judging
from proxy.pipeline import passage as flow
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Passage
from proxy.pipeline.steps import Forward, Need, Refuse, Release
from tests.support.ledger import decode_decision
from tests.support.passages import (
    NOW,
    REQUEST_ID,
    HeldKeys,
    a_checkpoint,
    a_head,
    a_passage,
    a_token,
    read_lines,
    reference_bundle,
)
from tests.support.world import DATA_TEAM, ENGINEER, SUPPORT

OK = ResponseHead(200, (("Content-Type", "application/json"),))


def _forwarded(passage: Passage, **parts: str) -> Forward:
    step = passage.begin(a_head(**parts))
    assert isinstance(step, Forward), step
    return step


def _released(passage: Passage, head: ResponseHead = OK) -> Release:
    step = passage.answer(head)
    assert isinstance(step, Release), step
    return step


def test_a_read_is_recorded_before_its_answer_is_released() -> None:
    passage = a_passage()
    assert _forwarded(passage).lines == ()
    (line,) = _released(passage).lines
    line = decode_decision(line)
    assert (line.effect, line.rule, line.released, line.status) == ("allow", "ly-staff-read-japan", True, 200)


@pytest.mark.parametrize(
    ("method", "target", "claims"),
    [
        pytest.param("PUT", "/v1/jp/users/42/phone", SUPPORT, id="an update"),
        pytest.param("GET", "/v1/jp/export", DATA_TEAM, id="an export"),
    ],
)
def test_what_is_no_read_is_recorded_before_it_is_forwarded(method: str, target: str, claims: dict[str, str]) -> None:
    passage = a_passage()
    (line,) = _forwarded(passage, method=method, target=target, token=a_token(claims)).lines
    line = decode_decision(line)
    assert line.effect == "allow"
    assert _released(passage).lines == ()


def test_the_end_says_how_much_left() -> None:
    passage = a_passage()
    _forwarded(passage)
    _released(passage)
    (line,) = passage.end(complete=True, bytes_sent=12, seconds=0.5).lines
    assert isinstance(line, EndLine)
    assert (line.id, line.status, line.complete, line.bytes) == (REQUEST_ID, 200, True, 12)


def test_an_api_that_fails_after_an_allow_is_recorded_as_such() -> None:
    passage = a_passage()
    _forwarded(passage)
    step = passage.fail(Reason.UPSTREAM_UNREACHABLE)
    (line,) = step.lines
    line = decode_decision(line)
    assert (line.effect, line.reason, line.status, line.released) == ("allow", "upstream-unreachable", 502, False)


def test_an_api_that_fails_after_an_update_was_forwarded_ends_the_record() -> None:
    passage = a_passage()
    _forwarded(passage, method="PUT", target="/v1/jp/users/42/phone", token=a_token(SUPPORT))
    (line,) = passage.fail(Reason.UPSTREAM_TIMEOUT).lines
    assert isinstance(line, EndLine)
    assert (line.complete, line.reason, line.status) == (False, "upstream-timeout", 504)


def test_an_update_whose_end_the_ledger_does_not_take_is_not_said_to_have_stayed_here() -> None:
    passage = a_passage()
    _forwarded(passage, method="PUT", target="/v1/jp/users/42/phone", token=a_token(SUPPORT))
    passage.note_written()
    assert isinstance(passage.answer(OK, 12), Release)
    (line,) = passage.fail(Reason.LEDGER_UNAVAILABLE).lines
    assert isinstance(line, EndLine)
    assert (line.complete, line.reason, line.status) == (False, "ledger-unavailable", 503)


@pytest.mark.parametrize("is_written", [True, False], ids=["and the ledger took", "and the ledger did not take"])
def test_an_answer_that_was_recorded_whole_and_never_left_is_recorded_as_such(is_written: bool) -> None:  # noqa: FBT001
    passage = a_passage()
    _forwarded(passage)
    assert isinstance(passage.answer(OK, 12), Release)
    if is_written:
        passage.note_written()
    (line,) = passage.fail(Reason.LEDGER_UNAVAILABLE).lines
    if is_written:  # in the kernel, and not on the disk
        assert isinstance(line, EndLine)
        assert (line.complete, line.reason, line.bytes) == (False, "ledger-unavailable", 0)
    else:
        line = decode_decision(line)
        assert (line.released, line.complete, line.reason) == (False, None, "ledger-unavailable")


def test_the_request_goes_out_as_it_was_judged() -> None:
    step = _forwarded(a_passage(), target="/v1/jp/users/42?fields=name&x=%E6%97%A5")
    assert step.target == "/v1/jp/users/42?fields=name&x=%E6%97%A5"


def test_nothing_the_caller_could_forge_goes_out() -> None:
    forged = {
        "X-Forwarded-Host": "evil", "X-Forwarded-Proto": "https", "x_forwarded_for": "10.20.3.7", "Forwarded": "for=1",
        "X-Real-IP": "10.20.3.7", "Sekisho-Decision-Id": "mine", "Sekisho-Affiliate": "ly", "sekisho_mode": "x",
        "X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/v1/jp/users/1", "Proxy": "http://evil",
        "Remote-User": "root", "X_Remote_User": "root", "Via": "1.1 x", "TE": "trailers", "Upgrade": "websocket",
    }  # fmt: skip
    step = a_passage().begin(a_head("/v1/jp/users/42", *forged.items(), ("X-Trace", "1"), ("Accept", "*/*")))
    assert isinstance(step, Forward)
    assert dict(read_lines(step.fields)) == {
        "Host": step.upstream.url.removeprefix("http://"),
        "X-Forwarded-For": "10.20.3.7",
        "Sekisho-Decision-Id": REQUEST_ID,
        "X-Trace": "1",
        "Accept": "*/*",
    }


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01")
STATE, ID = ("tracestate", "congo=t61rcWkgMzE"), ("X-Request-Id", "r-1")
NEW: dict[str, tuple[Headers, Headers, Headers, str]] = {
    "all stand apart": ((), (PARENT, STATE, ID), (PARENT, STATE, ID), TRACE),
    "all stand among the others": ((PARENT, STATE, ID), (), (ID, PARENT, STATE), TRACE),
    "some here, some there": ((PARENT,), (STATE, ID), (PARENT, STATE, ID), TRACE),
    "no trace": ((), (("traceparent", "00-0-0-0"), STATE, ID), (ID,), ""),
    "nothing": ((), (), (), ""),
}


@pytest.mark.parametrize(("fields", "apart", "expected", "trace"), NEW.values(), ids=NEW)
@pytest.mark.parametrize("target", ["/v1/jp/users/42", "/v1/users"], ids=["passed on", "looked into"])
def test_what_is_new_in_each_request_goes_on_and_its_trace_is_recorded(
    target: str, fields: Headers, apart: Headers, expected: Headers, trace: str
) -> None:
    passage = a_passage()
    step = passage.begin(msgspec.structs.replace(a_head(target, *fields), varying=apart))
    assert isinstance(step, Forward)
    assert tuple([each for each in read_lines(step.fields) if each[0].lower() in VARYING]) == expected
    assert passage.fail(Reason.UPSTREAM_TIMEOUT).outcome.trace == trace


def test_a_field_that_connection_names_stays_here() -> None:
    step = a_passage().begin(a_head("/v1/jp/users/42", ("Connection", "X-Hop"), ("X-Hop", "1"), ("X-Stay", "1")))
    assert isinstance(step, Forward)
    assert "X-Hop" not in dict(read_lines(step.fields))
    assert "X-Stay" in dict(read_lines(step.fields))


def test_answers_with_personal_data_are_never_stored() -> None:
    passage = a_passage()
    _forwarded(passage)
    fields = {"Cache-Control": "public", "Expires": "1", "Server": "x", "Alt-Svc": "h3", "Sekisho-Mode": "observe"}
    answer = ResponseHead(200, (*fields.items(), ("Connection", "X-Hop"), ("X-Hop", "1"), ("ETag", "1"), ("Date", "d")))
    assert dict(read_lines(_released(passage, answer).fields)) == {
        "ETag": "1", "Date": "d", "Cache-Control": "no-store", "Server": "sekisho", "Sekisho-Decision-Id": REQUEST_ID,
    }  # fmt: skip


def test_an_interim_answer_is_no_answer() -> None:
    passage = a_passage()
    _forwarded(passage)
    step = passage.answer(ResponseHead(101, ()))
    assert isinstance(step, Refuse)
    assert step.outcome.reason is Reason.UPSTREAM_ANSWER_UNSUPPORTED


def test_an_answer_to_a_request_that_was_refused_is_not_released() -> None:
    passage = a_passage()
    assert isinstance(passage.begin(a_head(token=a_token(ENGINEER))), Refuse)
    assert isinstance(passage.answer(OK), Refuse)


def test_a_public_route_needs_no_token() -> None:
    step = _forwarded(a_passage(), target="/v1/status", token=None, address=None)  # type: ignore[arg-type]
    assert step.target == "/v1/status"


def test_without_keys_the_answer_is_503_and_not_401() -> None:
    checkpoint = a_checkpoint()
    assert isinstance(checkpoint.keys, HeldKeys)
    checkpoint.keys.sets.clear()
    passage = a_passage(checkpoint)
    need = passage.begin(a_head())
    assert isinstance(need, Need)
    step = passage.supply(need)
    assert isinstance(step, Refuse)
    assert (step.outcome.status, step.outcome.reason) == (503, Reason.KEYS_UNAVAILABLE)


def test_an_error_in_any_room_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise RuntimeError("a defect")

    rooms = ("read_request_fields", "parse_target", "parse_host", "read_credentials", "select_subject", "decide")
    for room in rooms:
        with monkeypatch.context() as patch:
            patch.setattr(next(each for each in (flow, judging, checkpoint) if hasattr(each, room)), room, fail)
            step = a_passage().begin(a_head())
        assert isinstance(step, Refuse), room
        assert (step.outcome.status, step.outcome.reason, step.outcome.effect) == (503, "decision-failed", "deny")
        assert isinstance(step.error, RuntimeError)
        assert len(step.lines) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Callers, "resolve", fail)
        assert isinstance(a_passage().begin(a_head()), Refuse)


def test_a_caller_is_resolved_once_within_a_snapshot() -> None:
    checkpoint, head = a_checkpoint(), a_head()
    first, second = a_passage(checkpoint), a_passage(checkpoint)
    _ = first.begin(head), second.begin(head)
    assert first._caller is second._caller


def test_a_key_that_is_taken_away_ends_the_callers_it_verified() -> None:
    checkpoint, head = a_checkpoint(), a_head()
    assert isinstance(a_passage(checkpoint).begin(head), Forward)
    keys = checkpoint.keys
    assert isinstance(keys, HeldKeys)
    keys.sets["corp"] = msgspec.structs.replace(keys.sets["corp"], generation="next", keys=())
    passage = a_passage(checkpoint)
    need = passage.begin(head)
    assert isinstance(need, Need)
    assert isinstance(passage.supply(need), Refuse)


def test_no_record_holds_what_must_not_be_recorded() -> None:
    secrets = {"query": "hush-query", "cookie": "hush-cookie", "referer": "hush-referer", "agent": "hush-agent"}
    token = a_token(sub="hush-sub", name="hush-name")
    passage = a_passage()
    step = passage.begin(
        a_head(
            f"/v1/jp/users/987654321?q={secrets['query']}",
            ("Cookie", secrets["cookie"]),
            ("Referer", secrets["referer"]),
            ("User-Agent", secrets["agent"]),
            token=token,
        )
    )
    assert isinstance(step, Forward)
    lines = [*_released(passage).lines, *passage.end(complete=True).lines]
    written = b"".join(map(encode_body, lines)).decode()
    for secret in (*secrets.values(), "hush-sub", "hush-name", token, token.split(".")[2], "987654321", "/v1/"):
        assert secret not in written


class TestObserveMode:
    """Nothing is blocked, everything is decided; it ends by itself."""

    @pytest.fixture
    def checkpoint(self) -> Checkpoint:
        return a_checkpoint(msgspec.structs.replace(reference_bundle(), observe_until=NOW + 60))

    @pytest.mark.parametrize(
        ("parts", "reason"),
        [
            pytest.param({"token": a_token(ENGINEER)}, "rule-denies", id="a denied caller"),
            pytest.param({"token": None}, "token-missing", id="a caller without a token"),
            pytest.param({"token": a_token(exp=1)}, "token-expired", id="an expired token"),
            pytest.param({"target": "/v1/nowhere"}, "route-undeclared", id="a route nobody declared"),
            pytest.param({"method": "DELETE"}, "method-undeclared", id="a method nobody declared"),
        ],
    )
    def test_a_refusal_passes_and_is_recorded(self, checkpoint: Checkpoint, parts: dict[str, str], reason: str) -> None:
        passage = a_passage(checkpoint)
        forward = _forwarded(passage, **parts)
        release = _released(passage)
        (line,) = (*forward.lines, *release.lines)
        line = decode_decision(line)
        assert (line.effect, line.reason, line.enforced, line.released) == ("deny", reason, False, True)
        assert dict(read_lines(release.fields))["Sekisho-Mode"] == "observe"
        assert release.outcome.effect is Effect.DENY

    def test_what_is_ambiguous_is_refused_even_then(self, checkpoint: Checkpoint) -> None:
        assert isinstance(a_passage(checkpoint).begin(a_head("/v1/jp/users/%34")), Refuse)

    def test_what_is_allowed_says_nothing_of_it(self, checkpoint: Checkpoint) -> None:
        passage = a_passage(checkpoint)
        _forwarded(passage)
        assert "Sekisho-Mode" not in dict(read_lines(_released(passage).fields))

    def test_it_ends_at_its_date(self) -> None:
        ended = a_checkpoint(msgspec.structs.replace(reference_bundle(), observe_until=NOW))
        assert isinstance(a_passage(ended).begin(a_head(token=a_token(ENGINEER))), Refuse)


def test_the_reference_bundle_is_where_the_tests_look() -> None:
    assert Path(reference_bundle().folder).name == "policies"
