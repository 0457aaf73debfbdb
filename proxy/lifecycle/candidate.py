# SPDX-License-Identifier: Apache-2.0
"""The child process of a reload: loads a policy folder, runs its tests, and hands the result over. It does I/O.

What it writes to its standard output are slices, each with its length before it: first the emergency denies as they
were read, then either a failure, or a snapshot as ``takeover`` packs it. What to load it reads from its standard
input.
"""

import contextlib
import pickle
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from proxy.bundle.check import load_bundle
from proxy.bundle.emergency import Urgent, read_emergency
from proxy.bundle.manifest import EMERGENCY_FOLDER, MANIFEST
from proxy.bundle.read import FileProblem
from proxy.bundle.snapshot import Snapshot
from proxy.errors import BundleError, SekishoError
from proxy.lifecycle.cases import CaseResult, Cases
from proxy.lifecycle.takeover import pack
from proxy.model.ports import Geolocator
from proxy.origin.geoip import make_geolocator
from proxy.origin.options import OriginOptions

LENGTH_BYTES: Final = 4
MAX_TOLD: Final = 50
"""Problems of one failure: the rest is for ``sekisho check``."""


class Job(msgspec.Struct, frozen=True):
    """What to load."""

    folder: str
    upstreams: dict[str, str]
    geoip: str | None
    megabytes: int
    geoip_asn: str | None = None
    geoip_anonymous: str | None = None
    registers: str | None = None
    """Where large registers become files."""


class Failure(msgspec.Struct, frozen=True):
    """Why a folder cannot be put in force."""

    reasons: tuple[str, ...]


def find_failed(snapshot: Snapshot, geolocator: Geolocator) -> tuple[str, ...]:
    """Run a bundle's own tests, and say which fail; of emergency denies they know nothing, and need not."""
    cases = Cases(snapshot, geolocator)
    return tuple(_tell(result) for case in snapshot.cases if not (result := cases.run(case)).passed)


def _tell(result: CaseResult) -> str:
    return f"the test {result.name!r} fails: expected {result.expected}, decided {result.actual}"


def examine(job: Job) -> Iterable[bytes]:
    """Yield the slices of one folder."""
    folder = Path(job.folder)
    yield _pickle(_quietly_read(folder))
    try:
        snapshot = load_bundle(folder, job.upstreams, None if job.registers is None else Path(job.registers))
        geolocator = make_geolocator(
            OriginOptions.model_validate(
                {"geoip": job.geoip, "geoip_asn": job.geoip_asn, "geoip_anonymous": job.geoip_anonymous}
            )
        )
        failed = find_failed(snapshot, geolocator)
    except BundleError as error:
        yield _pickle(Failure(error.problems[:MAX_TOLD]))
        return
    except SekishoError as error:
        yield _pickle(Failure((str(error),)))
        return
    except Exception as error:  # noqa: BLE001 - whoever waits for the result gets a reason, whatever it is
        yield _pickle(Failure((f"loading failed: {type(error).__name__}: {error}",)))
        return
    if failed:
        yield _pickle(Failure(failed[:MAX_TOLD]))
        return
    yield from pack(snapshot)


def _quietly_read(folder: Path) -> Urgent:
    """Read the emergency denies; where they cannot be, or the folder is not all there, what they said stays."""
    place = str(folder / EMERGENCY_FOLDER)
    try:
        urgent = read_emergency(folder)
    except (MemoryError, RecursionError) as error:
        return Urgent((), (FileProblem(place, 1, 1, f"the folder cannot be read: {type(error).__name__}"),))
    if (folder / MANIFEST).is_file():
        return urgent
    missing = FileProblem(place, 1, 1, f"what it said stays in force while {MANIFEST} is missing")
    return msgspec.structs.replace(urgent, problems=(*urgent.problems, missing))


def _pickle(value: object) -> bytes:
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def main(source: BinaryIO, target: BinaryIO) -> None:
    """Do the job that the standard input describes."""
    job = msgspec.json.decode(source.read(), type=Job)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (job.megabytes * 2**20, job.megabytes * 2**20))
    for data in examine(job):
        target.write(len(data).to_bytes(LENGTH_BYTES, "big"))
        target.write(data)
        target.flush()  # what comes first must not wait for what comes last, nor be lost with it


def serve_parent() -> None:
    """Do the job over the process's own standard input and output."""
    main(sys.stdin.buffer, sys.stdout.buffer)
