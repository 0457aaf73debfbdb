# SPDX-License-Identifier: Apache-2.0
"""``make fuzz``: every target for its share of the time, one process each, led by coverage (atheris, libFuzzer).

An input that brings a target down is written to ``.fuzz/<target>/``, and the status is 1. It belongs into the corpus
once the cause is mended.
"""

import argparse
import faulthandler
import importlib
import importlib.util
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.gateway.wire.strictness import Row

ROOT: Final = Path(__file__).parents[2]
CORPUS: Final = Path(__file__).parent / "corpus"
FOUND: Final = ROOT / ".fuzz"
START_SECONDS: Final = 120
"""How long a target may take over its time: to be instrumented, and for its last input."""
HANG_SECONDS: Final = 5
MEMORY_MIB: Final = 1024
MAX_INPUT_BYTES: Final = 4096
PARSERS: Final = "tests.fuzz.parsers"
PROTOCOLS: Final = "tests.fuzz.protocols"
ANSWERS: Final = "tests.fuzz.answers"
TARGETS: Final = {
    "request_head": PARSERS,
    "response_head": PARSERS,
    "chunked": PARSERS,
    "target_and_fields": PARSERS,
    "proxy_header": PARSERS,
    "token": PARSERS,
    "client_connection": PROTOCOLS,
    "upstream_connection": PROTOCOLS,
    "json_answer": ANSWERS,
    "lines_answer": ANSWERS,
    "events_answer": ANSWERS,
    "coding": ANSWERS,
    "query": ANSWERS,
    "request_body": ANSWERS,
}
"""Where each stands: only that module is imported, because instrumenting takes its time."""
INSTRUMENTED: Final = (
    "proxy.gateway", "proxy.request", "proxy.caller", "proxy.origin", "proxy.pipeline", "proxy.redaction",
    "proxy.subject",
)  # fmt: skip


def find_rows(name: str) -> tuple["Row", ...]:
    """Return the rows of the table of strictness whose examples a target reads."""
    from proxy.gateway.wire import strictness  # noqa: PLC0415 - what is fuzzed is imported when it can be instrumented

    return {
        "request_head": (*strictness.REQUEST_LINES, *strictness.FIELD_LINES, *strictness.FRAMING),
        "response_head": strictness.ANSWERS,
        "chunked": strictness.CHUNKS,
    }.get(name, ())


def seed(name: str, folder: Path) -> None:
    """Begin with the corpus, and with every example of the table of strictness."""
    shutil.copytree(CORPUS / name, folder)
    for number, row in enumerate(find_rows(name)):
        if len(row.example) <= MAX_INPUT_BYTES:
            (folder / f"row-{number}").write_bytes(row.example)


def run_all(seconds: int) -> int:
    """Fuzz every target, one after the other; return the status."""
    share = max(1, seconds // len(TARGETS))
    return max([fuzz(name, share) for name in TARGETS])


def fuzz(name: str, seconds: int) -> int:
    """Fuzz one target in a process of its own, and say how that went; return the status."""
    with tempfile.TemporaryDirectory() as folder:
        seed(name, Path(folder, "seeds"))
        command = [sys.executable, "-m", "tests.fuzz", "--target", name, "--seconds", str(seconds), "--seeds", folder]
        child = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        try:
            said, _ = child.communicate(timeout=seconds + START_SECONDS)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGABRT)  # so that it says where it stands
            said, _ = child.communicate()
    done = re.search(r"Done (\d+) runs", said)
    if child.returncode == 0 and done:
        print(f"{name:20} {int(done[1]):>11,} inputs in {seconds} seconds, none brought it down")
        return 0
    lines = [line for line in said.splitlines() if not line.startswith("INFO:")]
    print(f"{name:20} was brought down; the input is in {FOUND / name}", *lines[-60:], sep="\n")
    return 1


def run_one(name: str, seconds: int, folder: Path) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris  # noqa: PLC0415 - only `make fuzz` installs it

    faulthandler.enable()

    with atheris.instrument_imports(include=[*INSTRUMENTED]):
        target = getattr(importlib.import_module(TARGETS[name]), f"fuzz_{name}")

    (FOUND / name).mkdir(parents=True, exist_ok=True)
    learnt = folder / "learnt"
    learnt.mkdir()
    options = {
        "max_total_time": seconds,
        "timeout": HANG_SECONDS,
        "rss_limit_mb": MEMORY_MIB,
        "max_len": MAX_INPUT_BYTES,
        "artifact_prefix": f"{FOUND / name}/",
    }
    arguments = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(learnt), str(folder / "seeds")], target)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="in all; with --target, of that one")
    parser.add_argument("--target", choices=[*TARGETS], help=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("atheris is missing: `make fuzz` installs it where there is a wheel for this Python (CPython, Linux).")
        return 2
    if arguments.target is None:
        return run_all(arguments.seconds)
    run_one(arguments.target, arguments.seconds, arguments.seeds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
