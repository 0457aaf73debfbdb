# SPDX-License-Identifier: Apache-2.0
from proxy.model.facts import UNKNOWN
from proxy.model.filtering import Content
from proxy.redaction.tally import Tally
from tests.support.filtering import ALLOWED, DENIED


def test_records_are_counted_by_the_verdict_on_them() -> None:
    tally = Tally()
    tally.count(ALLOWED)
    tally.count(DENIED, 3)
    tally.count(ALLOWED, 2)
    tally.add_ids(["a", UNKNOWN, "b"])
    tally.add_ids(["a"])
    tally.dropped += 3
    assert tally.take() == Content(seen=6, dropped=3, ids=("a", "b", "a"), by_verdict=((ALLOWED, 3), (DENIED, 3)))
    assert tally.take() == Content()
