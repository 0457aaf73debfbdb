# SPDX-License-Identifier: Apache-2.0
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.bundle.cases import CaseOrigin
from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.lifecycle.cases import Cases
from proxy.lifecycle.takeover import SLICE, Assembly, Part, _Packing, pack
from proxy.origin.geoip import RegistryGeolocator
from tests.support.bundle_folder import SMALL, edited, write_bundle
from tests.support.passages import reference_bundle


def carry(slices: Iterable[bytes]) -> Any:
    """Take slices over and return the last value."""
    assembly, value = Assembly(), None
    for data in slices:
        value = assembly.take(data)
    return value


def carry_snapshot(snapshot: Snapshot) -> Snapshot:
    assembly = Assembly()
    for data in pack(snapshot):
        assert assembly.snapshot is None
        assembly.take(data)
    assert assembly.snapshot is not None
    return assembly.snapshot


LONG = 3 * SLICE
SHARED = tuple(range(LONG))
VALUES = {
    "nothing long": {"a": (1, 2), "b": [3]},
    "an empty mapping": {},
    "a long mapping": {number: str(number) for number in range(LONG)},
    "a mapping one longer than what travels at once": dict.fromkeys(range(2 * SLICE + 1), 0),
    "a mapping as long as what travels at once": dict.fromkeys(range(2 * SLICE), 0),
    "a mapping of a whole number of slices": dict.fromkeys(range(4 * SLICE), 0),
    "a long tuple": SHARED,
    "long mappings in a long mapping": {
        outer: {inner: (outer, inner) for inner in range(LONG)} for outer in range(LONG)
    },
    "a long tuple in a short one in a long one": tuple((number, SHARED) for number in range(LONG)),
    "long tuples in long tuples": tuple(tuple(range(LONG)) for _ in range(LONG)),
    "a long list, which travels whole": list(range(LONG)),
    "a long text and bytes": ("x" * 10_000, b"x" * 10_000),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_what_is_taken_over_equals(value: Any) -> None:
    carried = carry(_Packing().pack(value))
    assert carried == value
    assert type(carried) is type(value)


def test_the_order_of_a_mapping_is_kept() -> None:
    value = dict.fromkeys(reversed(range(LONG)))
    assert list(carry(_Packing().pack(value))) == list(value)


def test_what_two_share_they_share_still() -> None:
    mapping = dict.fromkeys(range(LONG))
    first, second = carry(_Packing().pack(([mapping, SHARED], {"m": mapping, "t": SHARED})))
    assert first[0] is second["m"]
    assert first[1] is second["t"]


def test_no_slice_is_long() -> None:
    value = {outer: dict.fromkeys(range(LONG), "x" * 10) for outer in range(LONG)}
    slices = list(_Packing().pack(value))
    assert len(slices) > LONG
    assert max(map(len, slices)) < 64 * 100
    assert all(len(part.entries) <= SLICE for part in _parts(slices))


def _parts(slices: Iterable[bytes]) -> list[Part]:
    assembly = Assembly()
    values = [assembly.take(data) for data in slices]
    return [value for value in values if isinstance(value, Part)]


@settings(max_examples=30)
@given(
    st.recursive(
        st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(st.text(max_size=2), inner, max_size=4),
        max_leaves=20,
    ),
    st.integers(0, 2),
)
def test_anything_that_is_taken_over_equals(value: Any, times: int) -> None:
    nested: Any = value
    for _ in range(times):
        nested = dict.fromkeys(range(2 * SLICE + 1), nested)
    assert carry(_Packing().pack(nested)) == nested


EMPTY = {
    "bundle.yaml": "language: 1\nbundle: empty\nties: [employer]\nfiles: {parties.yaml: [issuers, affiliates], "
    "apis.yaml: [apis], rules.yaml: [rules]}\n",
    "parties.yaml": SMALL["parties.yaml"].partition("country_sets:")[0].replace("\n      residence: residence", ""),
    "apis.yaml": SMALL["apis.yaml"],
    "rules.yaml": "rules: [{id: nobody, effect: deny, when: {always: true}}]\n",
}


def test_a_bundle_of_next_to_nothing_is_taken_over(tmp_path: Any) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, EMPTY))
    carried = carry_snapshot(snapshot)
    assert [rule.id for rule in carried.policy.rules] == ["nobody"]
    assert carried.policy_digest == snapshot.policy_digest


def test_the_reference_bundle_decides_the_same_when_it_is_taken_over() -> None:
    snapshot = reference_bundle()
    carried = carry_snapshot(snapshot)
    here, there = Cases(snapshot, RegistryGeolocator()), Cases(carried, RegistryGeolocator())
    for case in snapshot.cases:
        assert there.run(case) == here.run(case), case.name
    assert (carried.policy_digest, carried.registers_digest) == (snapshot.policy_digest, snapshot.registers_digest)


def test_a_bundle_of_many_rules_networks_and_affiliates_decides_the_same_when_it_is_taken_over(tmp_path: Any) -> None:
    rules = "".join(
        f"  - id: rule-{n}\n    effect: {'allow' if n % 2 else 'deny'}\n    when: {{caller.affiliate: co-{n}, "
        f"origin.network: net-{n}}}\n" for n in range(LONG)
    )  # fmt: skip
    parties = edited(
        ("parties.yaml", "country_sets:\n", "".join(
            f"  - {{id: co-{n}, country: JP, owners: [{{id: home-co, share: 100}}], works_for: [home-co]}}\n"
            for n in range(LONG)) + "country_sets:\n"),
        ("parties.yaml", "trusted_proxies", "".join(
            f"  - {{id: net-{n}, cidr: [10.2.{n}.0/24], country: JP}}\n" for n in range(LONG)) + "trusted_proxies"),
        ("rules.yaml", "rules:\n", f"rules:\n{rules}"),
    )  # fmt: skip
    snapshot = load_bundle(write_bundle(tmp_path, parties))
    carried = carry_snapshot(snapshot)
    here, there = Cases(snapshot, RegistryGeolocator()), Cases(carried, RegistryGeolocator())
    (case,) = snapshot.cases
    seen = set()
    for number in range(0, LONG, 7):
        for network in (number, number + 1 if number + 1 < LONG else 0):
            given_ = case.given.model_copy(
                update={"caller": {"affiliate": f"co-{number}", "kind": "contractor", "residence": "JP"},
                        "origin": CaseOrigin(network=f"net-{network}", country="JP")}
            )  # fmt: skip
            asked = case.model_copy(update={"given": given_})
            result = there.run(asked)
            assert result == here.run(asked)
            seen.add(result.decision.rule_id if result.decision else "")
    assert len(seen) > 20


def test_what_serves_gets_neither_tests_nor_places() -> None:
    carried = carry_snapshot(reference_bundle())
    assert (carried.cases, carried.fixtures, carried.places) == ((), {}, {})
    assert not any(msgspec.structs.astuple(carried.declared))


def test_slices_that_end_early_give_no_snapshot() -> None:
    assembly = Assembly()
    for data in list(pack(reference_bundle()))[:-1]:
        assembly.take(data)
    assert assembly.snapshot is None


def test_a_slice_that_is_cut_is_an_error() -> None:
    (*_, last) = pack(reference_bundle())
    with pytest.raises((EOFError, pickle.UnpicklingError)):
        Assembly().take(last[: len(last) // 2])


def test_what_a_bundle_was_made_of_travels(tmp_path: Path) -> None:
    cut = "rules:\n  - {id: cut, effect: deny, when: {caller.affiliate: branch}}\n"
    folder = write_bundle(tmp_path, {**SMALL, "emergency_denies/now.yaml": cut, ".git/HEAD": "1" * 40})
    snapshot = load_bundle(folder)
    carried = carry_snapshot(snapshot)
    assert (carried.digest, carried.sources, carried.revision) == (snapshot.digest, snapshot.sources, "1" * 40)
    assert len(carried.sources) == len(SMALL) + 1
