# SPDX-License-Identifier: Apache-2.0
"""A flood of refusals: written up to a limit, counted beyond it, and never lost, whatever the clock does."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.flood import MAX_REASONS, OTHER, Counted, Flood

NOON = 1_795_000_000.0
IP = "198.51.100.7"


def take(flood: Flood, times: int, ip: str = IP, reason: str = "token-missing", now: float = NOON) -> int:
    """Refuse so often, and return how many are written by themselves."""
    return sum(flood.take(ip, reason, now) for _ in range(times))


def test_up_to_the_limit_each_is_written_and_nothing_is_counted() -> None:
    flood = Flood(per_address=3)
    assert take(flood, 3) == 3
    assert flood.drain(NOON, all=True) == []


def test_beyond_the_limit_of_an_address_its_refusals_are_counted_by_reason_with_first_and_last() -> None:
    flood = Flood(per_address=3)
    assert take(flood, 5) == 3
    assert take(flood, 1, reason="token-expired", now=NOON + 9) == 0
    assert flood.drain(NOON + 60) == [Counted(IP, 3, {"token-missing": 2, "token-expired": 1}, NOON, NOON + 9)]
    assert flood.drain(NOON + 60, all=True) == [], "handed out once"


def test_the_limit_of_one_address_is_not_that_of_another() -> None:
    flood = Flood(per_address=3)
    assert [take(flood, 5, ip) for ip in (IP, "198.51.100.8")] == [3, 3]


def test_beyond_the_limit_of_the_minute_every_address_is_counted() -> None:
    flood = Flood(per_address=3, per_minute=4)
    assert [take(flood, 3, ip) for ip in (IP, "198.51.100.8", "198.51.100.9")] == [3, 1, 0]
    assert [(each.ip, each.count) for each in flood.drain(NOON + 60)] == [("198.51.100.8", 2), ("198.51.100.9", 3)]


def test_the_next_minute_has_its_own_limits() -> None:
    flood = Flood(per_address=3, per_minute=3)
    assert take(flood, 5) == 3
    assert take(flood, 5, now=NOON + 59.9) == 0
    assert take(flood, 5, now=NOON + 60) == 3
    assert [each.count for each in flood.drain(NOON + 60)] == [7], "the second minute has not ended"
    assert [each.count for each in flood.drain(NOON + 120)] == [2]


def test_what_is_handed_out_in_a_minute_leaves_its_limits_used_up() -> None:
    flood = Flood(per_address=3)
    take(flood, 5)
    assert [each.count for each in flood.drain(NOON, all=True)] == [2]
    assert take(flood, 1) == 0
    assert [each.count for each in flood.drain(NOON, all=True)] == [1]


def test_what_could_not_be_recorded_is_handed_out_again_with_what_came_meanwhile() -> None:
    flood = Flood(per_address=0)
    take(flood, 2)
    flood.put_back(flood.drain(NOON, all=True))
    take(flood, 3, reason="token-expired", now=NOON + 90)
    (counted,) = flood.drain(NOON + 150)
    assert counted == Counted(IP, 5, {"token-missing": 2, "token-expired": 3}, NOON, NOON + 90)


GROUPS = [
    pytest.param("2001:db8::1", "2001:db8::/64", id="of an IPv6 address the /64"),
    pytest.param("2001:db8:0:0:ffff::9", "2001:db8::/64", id="another address of that /64"),
    pytest.param("2001:db8:0:1::1", "2001:db8:0:1::/64", id="the next /64 is another"),
    pytest.param("::ffff:198.51.100.7", IP, id="an IPv4 address in IPv6 is that IPv4 address"),
    pytest.param("fe80::1%eth0", "fe80::/64", id="a zone says nothing"),
    pytest.param("unknown", "unknown", id="an address that is not known"),
    pytest.param("", "", id="nothing"),
    pytest.param("::not::an::address", OTHER, id="what is no address and looks like one"),
]


@pytest.mark.parametrize(("ip", "name"), GROUPS)
def test_an_address_is_counted_as(ip: str, name: str) -> None:
    flood = Flood(per_address=0)
    assert take(flood, 1, ip) == 0
    assert [each.ip for each in flood.drain(NOON, all=True)] == [name]


def test_addresses_beyond_the_number_kept_are_other_and_have_the_limit_of_one_together() -> None:
    flood = Flood(per_address=2, addresses=2)
    assert [take(flood, 3, f"198.51.100.{host}") for host in range(4)] == [2, 2, 2, 0]
    counted = {each.ip: each.count for each in flood.drain(NOON + 60)}
    assert counted == {"198.51.100.0": 1, "198.51.100.1": 1, OTHER: 4}


def test_reasons_beyond_the_number_kept_are_other() -> None:
    flood = Flood(per_address=0)
    for number in range(MAX_REASONS + 5):
        take(flood, 1, reason=f"reason-{number}")
    (counted,) = flood.drain(NOON, all=True)
    assert len(counted.reasons) == MAX_REASONS + 1
    assert counted.reasons[OTHER] == 5


CLOCKS = [
    pytest.param([NOON, NOON - 3600, NOON - 3541, NOON - 3540], [1, 0, 0, 1], id="set back an hour"),
    pytest.param([NOON, NOON - 1, NOON + 58, NOON + 59], [1, 0, 0, 1], id="set back a second"),
    pytest.param([NOON, NOON + 1e9, NOON, NOON + 59, NOON + 60], [1, 1, 0, 0, 1], id="set thirty years ahead and back"),
    pytest.param([0.0, 1.0, NOON], [0, 0, 1], id="at 1970 before it was set"),
    pytest.param([-1e9, -1e9 + 61], [0, 1], id="before 1970"),
]


@pytest.mark.parametrize(("readings", "written"), CLOCKS)
def test_the_clock_neither_loses_counts_nor_freezes_them_when(readings: list[float], written: list[int]) -> None:
    flood = Flood(per_address=1)
    if readings[0] < NOON:
        take(flood, 1, now=readings[0])
    assert [take(flood, 3, now=now) for now in readings] == written
    taken = 3 * len(readings)
    counted = flood.drain(readings[-1], all=True)
    assert sum(each.count for each in counted) == taken - sum(written)
    assert [each for each in counted if each.since > each.until] == []


READINGS = st.one_of(st.integers(0, 200), st.integers(-(10**6), 10**12)).map(float)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["take"] * 8 + ["drain", "drain all", "drain and put back"]),
        st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2", "unknown"]),
        st.sampled_from(["token-missing", "token-expired", "route-undeclared"]),
        READINGS,
    ),
    max_size=60,
)


@given(EVENTS, st.integers(0, 4), st.integers(0, 8), st.integers(0, 4))
def test_nothing_is_lost_and_what_is_written_is_bounded_whatever_the_clock_does(
    events: list[tuple[str, str, str, float]], per_address: int, per_minute: int, addresses: int
) -> None:
    flood = Flood(per_address, per_minute, addresses)
    taken: Counter[str] = Counter()
    found: Counter[str] = Counter()
    written = 0
    forward, last = 0.0, 0.0
    for what, ip, reason, now in events:
        forward, last = forward + max(0.0, now - last), now
        if what == "take":
            taken[reason] += 1
            if flood.take(ip, reason, now):
                found[reason] += 1
                written += 1
        else:
            counted = flood.drain(now, all=what == "drain all")
            assert len(counted) <= addresses + 1
            if what == "drain and put back":
                flood.put_back(counted)
                continue
            for each in counted:
                found.update(each.reasons)
                assert each.count == sum(each.reasons.values()) > 0
                assert each.since <= each.until
    for each in flood.drain(last, all=True):
        found.update(each.reasons)
    assert found == taken
    assert written <= per_minute * (1 + forward / 60)


@given(st.integers(1, 50), st.integers(0, 10), st.integers(0, 30))
def test_lines_of_a_minute_are_bounded_by_the_limits(hosts: int, per_address: int, per_minute: int) -> None:
    flood = Flood(per_address, per_minute, addresses=8)
    written = sum(take(flood, 20, f"192.0.2.{host}") for host in range(hosts))
    assert written <= min(per_minute, per_address * min(hosts, 9))
    counted = flood.drain(NOON + 60)
    assert len(counted) <= 9
    assert written + sum(each.count for each in counted) == 20 * hosts
