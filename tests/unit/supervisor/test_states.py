# SPDX-License-Identifier: Apache-2.0
"""Whether several workers can decide."""

from typing import Final

import msgspec
import pytest

from proxy.model.readiness import Readiness
from proxy.supervisor.states import Said, merge_readiness

IN_FORCE: Final = ("sha256:p", "sha256:r")
READY: Final = Readiness(
    ready=True, bundle="line-2021", policy="sha256:p", registers="sha256:r", mode="enforce", observe_until=None,
    issuers_without_keys=(), geolocation="registry data", emergency_denies=(), stale=(),
)  # fmt: skip
KEYLESS: Final = msgspec.structs.replace(READY, ready=False, issuers_without_keys=("corp",))
BEHIND: Final = msgspec.structs.replace(READY, policy="sha256:o")

CASES: Final = {
    "all are": ([READY, READY], True, ["", ""]),
    "one has not said anything": ([READY, None], False, ["", "it has not said anything yet"]),
    "one has no keys": ([READY, KEYLESS], False, ["", "it has no keys of corp"]),
    "one has another bundle in force": ([READY, BEHIND], False, ["", "it has the policy sha256:o in force"]),
    "one is missing": ([READY], False, [""]),
    "none is there": ([], False, []),
}


@pytest.mark.parametrize(("said", "is_ready", "why_not"), CASES.values(), ids=CASES.keys())
def test_it_is_ready_when_every_worker_is_on_one_bundle(
    said: list[Readiness | None], is_ready: bool, why_not: list[str]  # noqa: FBT001
) -> None:  # fmt: skip
    merged = merge_readiness([Said(n, 100 + n, each) for n, each in enumerate(said, 1)], 2, IN_FORCE, ())
    assert (merged.ready, [each.why_not for each in merged.workers]) == (is_ready, why_not)
    assert (merged.policy, merged.registers, merged.wanted) == (*IN_FORCE, 2)


def test_what_one_worker_doubts_is_told_once() -> None:
    doubts = [("old",), ("old", "older")]
    said = [
        Said(number, number, msgspec.structs.replace(READY, geolocation_doubts=each))
        for number, each in enumerate(doubts, 1)
    ]
    merged = merge_readiness(said, 2, IN_FORCE, ("rules.yaml:1:1: no YAML",))
    assert (merged.geolocation_doubts, merged.stale) == (("old", "older"), ("rules.yaml:1:1: no YAML",))


@pytest.mark.parametrize(
    "doubts", ["geolocation_doubts", "pseudonym_doubts", "assertion_doubts", "tls_doubts", "issuers_without_keys"]
)
def test_whatever_a_worker_doubts_is_told(doubts: str) -> None:
    said = [Said(1, 1, READY), Said(2, 2, msgspec.structs.replace(READY, **{doubts: ("it",)}))]
    assert getattr(merge_readiness(said, 2, IN_FORCE, ()), doubts) == ("it",)


@pytest.mark.parametrize("said", [[Said(1, 1, READY), Said(2, 2, READY)], []], ids=["workers that end", "none left"])
def test_who_is_told_to_end_is_not_ready(said: list[Said]) -> None:
    merged = merge_readiness(said, 2, IN_FORCE, (), stopping=True)
    assert (merged.ready, merged.stopping) == (False, True)
