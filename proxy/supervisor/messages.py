# SPDX-License-Identifier: Apache-2.0
"""What a supervisor and its workers say to each other; bundles travel beside it, in slices (``takeover``)."""

from typing import Any

import msgspec

from proxy.model.readiness import Readiness
from proxy.supervisor.merge import Family
from proxy.telemetry.attempts import Attempt


class Job(msgspec.Struct, frozen=True, tag=True):
    """What a worker is; the first message, and after it the first ``Prepare``."""

    number: int
    """From 1 on; no two that run at a time have the same."""
    settings: dict[str, Any]
    gates: tuple[tuple[int, ...], ...]
    """File descriptors of the listening sockets, gate by gate."""
    attempts_key: bytes
    """Under which those are remembered who are denied, the same for all workers."""


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """Take a bundle over and say whether it could be put in force. Slices follow, and an empty one."""

    id: int
    digest: str
    """To which it must come."""
    keeps_issuers: bool = False
    """Whether its issuers are those in force: whatever became of their keys must not hold it up."""


class Commit(msgspec.Struct, frozen=True, tag=True):
    """Put in force what was prepared."""

    id: int


class Abort(msgspec.Struct, frozen=True, tag=True):
    """Forget what was prepared, if anything was."""

    id: int


class Accept(msgspec.Struct, frozen=True, tag=True):
    """Take callers on these gates from now on, and on no others."""

    id: int
    gates: tuple[int, ...]


class Look(msgspec.Struct, frozen=True, tag=True):
    """Say how you are."""

    id: int


class RenewKeys(msgspec.Struct, frozen=True, tag=True):
    """Read again the keys that lie in the policy folder."""

    id: int


class Renew(msgspec.Struct, frozen=True, tag=True):
    """Look now at whatever you watch by yourself: ``SIGHUP``."""


class Shut(msgspec.Struct, frozen=True, tag=True):
    """Let go of all gates on which you do not accept: so each is gone once whoever accepts on it stops."""

    id: int


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Take no more callers, let requests under way end, and end."""


class Done(msgspec.Struct, frozen=True, tag=True):
    """The answer to what has an id."""

    id: int
    why_not: str = ""
    """A sentence; empty where it is done."""


class Seen(msgspec.Struct, frozen=True, tag=True):
    """The answer to ``Look``."""

    id: int
    readiness: Readiness
    metrics: tuple[Family, ...]
    attempts: tuple[Attempt, ...]
    """What those were denied who were denied something of late."""


class Last(msgspec.Struct, frozen=True, tag=True):
    """What a worker has counted when it ends in order."""

    metrics: tuple[Family, ...]
    attempts: tuple[Attempt, ...]


Order = Job | Prepare | Commit | Abort | Accept | Look | RenewKeys | Renew | Shut | Stop
"""From the supervisor."""
Report = Done | Seen | Last
"""From a worker."""
