# SPDX-License-Identifier: Apache-2.0
"""Whether a deployment can count what a bundle limits."""

from proxy.bundle.snapshot import Snapshot
from proxy.errors import UsageError
from proxy.policy.counted import find_counting
from proxy.volume.options import MEMORY, VolumeOptions


def check_counts(snapshot: Snapshot, options: VolumeOptions, workers: int) -> None:
    """Refuse a bundle that limits how much callers read where each worker would count by itself.

    Raises:
        UsageError: it does; the sentence names a rule, and the mend.
    """
    counting = find_counting(snapshot.policy)
    if not counting or workers <= 1 or options.counts != MEMORY:
        return
    more = f" and {len(counting) - 1} more" if len(counting) > 1 else ""
    raise UsageError(
        f"{counting[0]!r}{more} of the bundle {snapshot.name} asks how much a caller has read, and {workers} workers "
        "would each count by themselves: name a Redis that they share, SEKISHO_COUNTS=redis://HOST:6379/0, or run one."
    )
