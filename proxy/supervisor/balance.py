# SPDX-License-Identifier: Apache-2.0
"""Who accepts on which gate: each worker on one, and those of a worker that is gone are taken over by others."""

from collections.abc import Iterator, Mapping, Sequence


def share_gates(count: int, held: Mapping[int, Sequence[int]], workers: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Return which gates each worker accepts on.

    No worker has two more than another, and what a worker has it keeps where that allows it.

    Args:
        count: of gates, from 0 on.
        held: worker to the gates that it has now; who is not among ``workers`` has none any more.
        workers: those that serve, each once.
    """
    if not workers:
        return {}
    least, more = divmod(count, len(workers))
    shares: dict[int, list[int]] = {}
    for worker in sorted(workers, key=lambda each: -len(held.get(each, ()))):
        size = least + (more > 0)
        more -= more > 0
        shares[worker] = list(held.get(worker, ()))[:size]
    free = [gate for gate in range(count) if not any(gate in gates for gates in shares.values())]
    for gates in _neediest(shares, len(free)):
        gates.append(free.pop(0))
    return {worker: tuple(sorted(gates)) for worker, gates in shares.items()}


def _neediest(shares: Mapping[int, list[int]], times: int) -> Iterator[list[int]]:
    for _ in range(times):
        yield min(shares.values(), key=len)
