# SPDX-License-Identifier: Apache-2.0

import re

import pytest

from proxy.gateway.wire.bodies import ChunkedBody, FramingError
from proxy.gateway.wire.heads import RequestReader, find_head_end, read_response
from proxy.gateway.wire.strictness import ANSWERS, CHUNKS, FIELD_LINES, FRAMING, REQUEST_LINES, Row
from proxy.model.decision import Reason

REQUESTS = (*REQUEST_LINES, *FIELD_LINES, *FRAMING)


def what(row: Row) -> str:
    return row.what


@pytest.mark.parametrize("row", REQUESTS, ids=what)
def test_requests(row: Row) -> None:
    reader = RequestReader()
    for _ in range(2):  # what was read is remembered, what was refused is refused again
        found = reader.read(row.example)
        assert (found if isinstance(found, Reason) else None) is row.reason


@pytest.mark.parametrize("row", REQUESTS, ids=what)
def test_a_request_is_refused_as_soon_as_its_end_is_found(row: Row) -> None:
    end = find_head_end(row.example)
    found = RequestReader().read(row.example[:end])
    assert end > 0
    assert (end == len(row.example)) or row.reason is not None
    assert (found if isinstance(found, Reason) else None) in {row.reason, Reason.REQUEST_MALFORMED}


@pytest.mark.parametrize("row", ANSWERS, ids=what)
def test_answers(row: Row) -> None:
    assert (read_response(row.example) is None) is (row.reason is not None)


@pytest.mark.parametrize("row", CHUNKS, ids=what)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_chunks(row: Row, size: int) -> None:
    body = ChunkedBody()
    try:
        for at in range(0, len(row.example), size):
            body.feed(row.example[at : at + size])
    except FramingError:
        assert row.reason is Reason.REQUEST_MALFORMED
    else:
        assert row.reason is None
        assert body.is_done
        assert body.rest == b""


@pytest.mark.parametrize("rows", [REQUESTS, ANSWERS, CHUNKS], ids=["requests", "answers", "chunks"])
def test_every_row_is_another_one_and_names_its_law(rows: tuple[Row, ...]) -> None:
    assert len({row.what for row in rows}) == len(rows)
    assert len({row.example for row in rows}) == len(rows)
    assert all(re.match(r"[0-9]{4} [0-9C]", row.law) for row in rows)
