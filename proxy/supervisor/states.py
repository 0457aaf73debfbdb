# SPDX-License-Identifier: Apache-2.0
"""Whether several workers can decide, and what an operator should know about them, from what each says of itself."""

from collections.abc import Sequence

import msgspec

from proxy.model.readiness import Readiness, WorkersReadiness, WorkerState


class Said(msgspec.Struct, frozen=True):
    """What is known of one worker."""

    number: int
    pid: int
    readiness: Readiness | None
    """None while it has not said anything."""


def merge_readiness(
    said: Sequence[Said], size: int, in_force: tuple[str, str], stale: tuple[str, ...], *, stopping: bool = False
) -> WorkersReadiness:
    """Return the readiness of all: yes where there are enough workers, each of them is ready, and on one bundle.

    Args:
        said: of each worker that serves.
        size: how many there shall be.
        in_force: the digests of policy and registers that they shall have.
        stale: why the policy folder as it lies there is not in force.
        stopping: whether they are told to end.
    """
    states = tuple(_judge(each, in_force) for each in said)
    known = [each.readiness for each in said if each.readiness is not None]
    is_ready = not stopping and len(states) >= size and all(each.ready for each in states)
    if not known:
        return WorkersReadiness(
            ready=False, bundle="", policy=in_force[0], registers=in_force[1], mode="enforce", observe_until=None,
            issuers_without_keys=(), geolocation="", emergency_denies=(), stale=stale, workers=states, wanted=size,
            stopping=stopping,
        )  # fmt: skip
    first = known[0]
    return WorkersReadiness(
        ready=is_ready,
        bundle=first.bundle,
        policy=in_force[0],
        registers=in_force[1],
        mode="observe" if any(each.mode == "observe" for each in known) else "enforce",
        observe_until=first.observe_until,
        issuers_without_keys=_unite([each.issuers_without_keys for each in known]),
        geolocation=" / ".join(dict.fromkeys(each.geolocation for each in known)),
        emergency_denies=first.emergency_denies,
        stale=stale,
        geolocation_doubts=_unite([each.geolocation_doubts for each in known]),
        pseudonym_doubts=_unite([each.pseudonym_doubts for each in known]),
        assertion_doubts=_unite([each.assertion_doubts for each in known]),
        tls_doubts=_unite([each.tls_doubts for each in known]),
        stopping=stopping,
        workers=states,
        wanted=size,
    )


def _judge(said: Said, in_force: tuple[str, str]) -> WorkerState:
    readiness = said.readiness
    if readiness is None:
        return WorkerState(said.number, said.pid, ready=False, why_not="it has not said anything yet")
    if (readiness.policy, readiness.registers) != in_force:
        return WorkerState(said.number, said.pid, ready=False, why_not=f"it has the policy {readiness.policy} in force")
    if not readiness.ready:
        missing = ", ".join(readiness.issuers_without_keys)
        return WorkerState(said.number, said.pid, ready=False, why_not=f"it has no keys of {missing}")
    return WorkerState(said.number, said.pid, ready=True)


def _unite(lists: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for each in lists for text in each))
