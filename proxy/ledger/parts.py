# SPDX-License-Identifier: Apache-2.0
"""The ledgers of replicas and of workers: each in a folder of its own, signed by one key under a name of its own.

::

    DIR/worker-1/               signed as NAME/worker-1, where the key is called NAME
    DIR/replica-a/              signed as NAME/replica-a
    DIR/replica-a/worker-1/     signed as NAME/replica-a/worker-1

One tree has one writer, and two trees under one name would be a split view. Whoever believes the key NAME believes
what it signs under these names, and need not know how many replicas and workers there were.

- A *part* is called by the path of its folder below DIR: ``replica-a/worker-1``; the whole itself is the empty one.
- Kinds of parts have levels, and a part holds only such as are further in: a worker nothing, a replica workers.
- A replica is called as Kubernetes calls pods (a DNS subdomain, RFC 1123 2.1 in small letters): no name of it is
  ``..``, has a slash, or differs from another's by case alone.
"""

import re
from typing import Final, NamedTuple

MAX_REPLICA_CHARS: Final = 247
"""The name of a folder has at most 255 bytes, and eight of them are ``replica-``."""
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_REPLICA_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_REPLICA: Final = "replica-"
_WORKER: Final = re.compile(r"worker-([1-9][0-9]{0,3})")

WHOLE_LEVEL: Final = 0
REPLICA_LEVEL: Final = 1
WORKER_LEVEL: Final = 2


class Rank(NamedTuple):
    """Where a folder stands among those beside it: sorted, workers come first, by their numbers."""

    outward: int
    """Less the further in its kind is."""
    number: int
    name: str

    @property
    def level(self) -> int:
        """How far in its kind is."""
        return -self.outward


def worker_part(number: int) -> str:
    """Return the name of the folder in which the worker of that number writes a ledger of its own."""
    return f"worker-{number}"


def replica_part(name: str) -> str:
    """Return the name of the folder in which the replica of that name writes a ledger of its own."""
    return f"{_REPLICA}{name}"


def check_replica(name: str) -> str:
    """Return why a replica cannot be called so, with the mend; empty where it can."""
    if len(name) <= MAX_REPLICA_CHARS and _REPLICA_NAME.fullmatch(name):
        return ""
    return (
        f"{name[:80]!r} is no name of a replica: name it as its pod is, with at most {MAX_REPLICA_CHARS} small "
        "letters, digits, '-' and '.', a letter or digit at both ends and beside each dot; or leave it unset where one "
        "gateway writes the ledger"
    )


def find_rank(name: str) -> Rank | None:
    """Return the rank of the folder of a part by its name; None for what is none."""
    worker = _WORKER.fullmatch(name)
    if worker:
        return Rank(-WORKER_LEVEL, int(worker[1]), name)
    if name.startswith(_REPLICA) and not check_replica(name.removeprefix(_REPLICA)):
        return Rank(-REPLICA_LEVEL, 0, name)
    return None


def join_name(*names: str) -> str:
    """Return under which name a part is signed by a key, or how a part of a part is called; empty ones are left out."""
    return "/".join(filter(None, names))


def split_name(signed: str) -> tuple[str, str]:
    """Return the name of the whole and the part that is signed under a name; the part is empty where that is none."""
    name, part, level = signed, "", WORKER_LEVEL + 1
    while True:
        whole, _, last = name.rpartition("/")
        rank = find_rank(last)
        if not whole or rank is None or rank.level >= level:
            return name, part
        name, part, level = whole, join_name(last, part), rank.level


def find_part(signed: str, whole: str) -> str | None:
    """Return the part of a whole that is signed under a name; empty for the whole itself, None for all else."""
    if signed == whole:
        return ""
    part = signed.removeprefix(f"{whole}/")
    return part if part not in {signed, ""} and split_name(join_name("whole", part)) == ("whole", part) else None
