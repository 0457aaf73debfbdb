# SPDX-License-Identifier: Apache-2.0
import pytest

from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from proxy.model.inspection import Beyond
from proxy.redaction import documents
from tests.support.filtering import ALLOWED, ByCountry, declare, parts_of, run

EVERYONE = ByCountry({UNKNOWN: ALLOWED})


@pytest.mark.parametrize("size", [1, 1000])
def test_a_map_may_hold_so_many_names(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_NAMES", 3)
    declared = declare({"$.a": "user.a"}, records="$.*")
    body = b'{"x":{"a":1},"y":{"a":1},"z":{"a":1}'
    assert run(declared, EVERYONE, parts_of(body + b"}", size))[0] == body + b"}"
    assert run(declared, EVERYONE, parts_of(body + b',"w":{}}', size))[0] is Reason.ANSWER_TOO_LARGE


def test_more_is_matched_at_once_than_one_look_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_GLANCE_BYTES", 64)
    declared = declare({"$.a": "user.a"}, records="$[*]")
    body = b"[" + b",".join(b'{"a":%d}' % number for number in range(500)) + b"]"
    assert run(declared, EVERYONE, [body])[0] == body


def test_spaces_between_records_may_change() -> None:
    declared = declare({"$.a": "user.a"}, records="$[*]")
    records = [b'{"a":%d}' % number for number in range(60)]
    body = b"[" + b"".join(each + (b", ", b",", b" ,\n")[number // 7 % 3] for number, each in enumerate(records))
    assert run(declared, EVERYONE, [body + b'{"a":60}]'])[0] == b"[" + b",".join([*records, b'{"a":60}']) + b"]"


def test_shapes_take_turns() -> None:
    declared = declare({"$.a": "user.a", "$.b": "user.b"}, records="$[*]")
    kinds = (b'{"a":%d}', b'{"a":1,"b":%d}', b'{"b":[%d]}', b'{"b":%d}')
    records = [kinds[number * number % 4] % number for number in range(200)]
    body = b"[" + b",".join(records) + b"]"
    for size in (10_000, 37, 1):
        assert run(declared, EVERYONE, parts_of(body, size))[0] == body


def test_members_of_the_envelope_may_be_large_but_not_too_large() -> None:
    declared = declare({"$.a": "user.a"}, records="$.r[*]", members={"$.m": Beyond.NOTHING})
    fits = b'{"m":"' + b"x" * 1_048_574 + b'","r":[]}'
    assert run(declared, EVERYONE, parts_of(fits, 65_536))[0] == fits
    for name in (b"m", b"undeclared"):
        body = b'{"' + name + b'":"' + b"x" * 1_048_575 + b'","r":[]}'
        assert run(declared, EVERYONE, parts_of(body, 65_536))[0] is Reason.ANSWER_RECORD_TOO_LARGE
