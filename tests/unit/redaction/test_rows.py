# SPDX-License-Identifier: Apache-2.0
from typing import Final

import pytest

from proxy.model.api import Transform
from proxy.model.filtering import Content, Judge
from proxy.redaction.rendering import Batch
from proxy.redaction.rows import Rows
from proxy.redaction.tally import Tally
from tests.support.filtering import ALLOWED, DENIED, TREATMENT, ByCountry, ByDirectory, declare, masking, run

MASKING: Final = masking({"user.name": Transform.MASK})
DECLARED: Final = declare(records="$[*]", country="$.country", id="$.id")


def settled(judge: Judge, *records: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, Content, list[bool]]:
    """Return what leaves of an answer, what was counted, and of each batch whether it was settled at once."""
    at_once: list[bool] = []
    settle = Rows.settle

    def watched(self: Rows, batch: Batch, tally: Tally, *, refuses: bool) -> object:
        found = settle(self, batch, tally, refuses=refuses)
        at_once.append(found is not None)
        return found

    warm = b"[" + b",".join([b'{"id":"0","name":"x","country":"TW"}'] * 9) + b"]"
    run(DECLARED, ByCountry({}), [warm], TREATMENT)
    monkeypatch.setattr(Rows, "settle", watched)
    left, content = run(DECLARED, judge, [b"[" + b",".join(records) + b"]"], TREATMENT)
    assert isinstance(left, bytes)
    return left, content, at_once


def record(id_: str, name: str, country: str) -> bytes:
    return b'{"id":"%b","name":%b,"country":"%b"}' % (id_.encode(), name.encode(), country.encode())


def test_units_in_a_row_are_settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = ByCountry({"TW": ALLOWED, "KR": MASKING})
    records = [
        record("a", '"x"', "TW"),
        record("b", '"Minjun"', "KR"),
        record("c", '"Taro"', "JP"),
        record("d", "7", "KR"),
        record("e", '"y"', "TW"),
        record("f", '"Jiwoo"', "KR"),
        record("g", '"z"', "TW"),
    ]
    left, content, at_once = settled(judge, *records, monkeypatch=monkeypatch)
    masked = {b'"Minjun"': b'"**njun"', b'"Jiwoo"': b'"*iwoo"'}
    expected = []
    for at in (0, 1, 4, 5, 6):
        raw = records[at]
        for name, instead in masked.items():
            raw = raw.replace(name, instead)
        expected.append(raw)
    assert left == b"[" + b",".join(expected) + b"]"
    assert (content.seen, content.dropped, content.masked, content.unfit) == (7, 2, 2, 1)
    assert content.ids == ("a", "b", "e", "f", "g")
    assert at_once == [True]


def test_ids_that_matter_are_told_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = ByDirectory({"a": ALLOWED, "b": DENIED, "c": ALLOWED})
    judge.known = {"a", "b", "c", "d"}
    records = [record(id_, '"x"', "TW") for id_ in "abcd"]
    left, content, at_once = settled(judge, *records, monkeypatch=monkeypatch)
    assert left == b"[" + records[0] + b"," + records[2] + b"]"
    assert content.ids == ("a", "c")
    assert at_once[0]


@pytest.mark.parametrize("known", [set(), {"a"}])
def test_units_that_must_wait_are_taken_one_by_one(known: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    judge = ByDirectory({"a": ALLOWED, "b": ALLOWED, "c": ALLOWED})
    judge.known = known
    records = [record(id_, '"x"', "TW") for id_ in "abc"]
    left, content, _ = settled(judge, *records, monkeypatch=monkeypatch)
    assert left == b"[" + b",".join(records) + b"]"
    assert content.seen == 3


def test_ids_of_many_kinds_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        b'{"id":%b,"name":1,"country":"TW"}' % id_ for id_ in (b'"a"', b"7", b"null", rb'"\u0062"', b'""', b'"z"')
    ]
    left, content, _ = settled(ByCountry({"TW": ALLOWED}), *records, monkeypatch=monkeypatch)
    assert left == b"[" + b",".join(records) + b"]"
    assert content.ids == ("a", "7", "b", "", "z")
