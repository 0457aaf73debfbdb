# SPDX-License-Identifier: Apache-2.0
"""A real systemd as the first process of a machine of its own: namespaces over this one's files.

It cannot change those, for its root is an overlay: what is made or written there is gone with it. Processes, mounts,
control groups, host name and ``/dev`` are its own; the network is this machine's, and so is loopback.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.clock import elapsed_seconds

PROGRAMS: Final = ("unshare", "nsenter", "mount", "pivot_root", "systemctl", "journalctl")
UNSHARE, NSENTER = (shutil.which(name) or name for name in ("unshare", "nsenter"))
SYSTEMD: Final = Path("/usr/lib/systemd/systemd")
BOOT_SECONDS: Final = 60
COMMAND_SECONDS: Final = 300
_NO_MACHINE: Final = 77
"""The exit code of a script that finds that this machine does not let it make another."""

_PREPARE: Final = """
set -eu
cannot() { echo "$1" >&2; exit 77; }
mount --make-rprivate / && mount -t tmpfs tmpfs "$FOLDER" || cannot "file systems cannot be mounted here"
cd "$FOLDER"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root || cannot "an overlay cannot be mounted here"
cd root
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup || cannot "there are no control groups of version 2 here"
mkdir sys/fs/cgroup/probe && rmdir sys/fs/cgroup/probe || cannot "control groups cannot be made here"
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for each in null zero full random urandom tty; do touch dev/$each; mount --bind /dev/$each dev/$each; done
mkdir dev/shm dev/pts dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
rm -rf etc/systemd/system/*.wants etc/systemd/system/default.target
printf '[Unit]\\nDefaultDependencies=no\\n' >etc/systemd/system/machine.target
mount --bind "$SHARED" mnt
cat >boot.sh <<'END'
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mkdir -p old
pivot_root . old
umount -l /old
mount --make-rshared /
exec env -i container=other PATH="$PATH" /usr/lib/systemd/systemd --system --unit=machine.target --show-status=0
END
exec unshare --pid --mount --fork --kill-child sh boot.sh
"""


class Machine(msgspec.Struct, frozen=True):
    """One that has booted."""

    pid: int
    """Of its first process, as this machine counts."""
    shared: Path
    """A folder of ours that is ``/mnt`` there."""

    def run(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a script of the shell there, as root; what it printed is in the error where it fails."""
        inside = [NSENTER, "--target", str(self.pid), "--all", "--root", "--wdns=/"]
        ran = subprocess.run(
            [*inside, "/bin/bash", "-euo", "pipefail", "-c", script],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", **_pip_settings()},
            capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert not check or ran.returncode == 0, f"{script}\n{ran.stdout}{ran.stderr}"
        return ran

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run(f"systemctl show --value --property {name} {shlex.quote(unit)}").stdout.strip()

    def journal(self, unit: str) -> str:
        """Return what a unit has said, without what the journal adds."""
        return self.run(f"journalctl --unit {shlex.quote(unit)} --output cat --no-pager").stdout


@contextlib.contextmanager
def boot_machine() -> Iterator[Machine]:
    """Boot a machine, and switch it off at the end; skip the test where none can be made."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing or not SYSTEMD.exists():
        pytest.fail(f"{', '.join(missing) or SYSTEMD} is missing: as root, apt-get install systemd.", pytrace=False)
    if os.getuid() != 0:
        pytest.skip("only root makes namespaces in which systemd can be the first process")
    with tempfile.TemporaryDirectory(prefix="sekisho-machine-") as name, _control_group() as group:
        folder, shared = Path(name) / "disk", Path(name) / "shared"
        folder.mkdir()
        shared.mkdir(mode=0o755)
        Path(name).chmod(0o755)
        with (Path(name) / "log").open("w+", encoding="utf-8") as log:
            process = subprocess.Popen(
                [UNSHARE, "--mount", "--cgroup", "--ipc", "--uts", "sh", "-c", _PREPARE],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "FOLDER": str(folder), "SHARED": str(shared)},
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())) and None,  # noqa: PLW1509
            )  # fmt: skip
            try:
                yield _wait_for_boot(process, Path(log.name))
            finally:
                process.kill()
                process.wait()


def _wait_for_boot(process: subprocess.Popen[bytes], log: Path) -> Machine:
    """Wait until the machine's systemd has started what it was told to."""
    until = elapsed_seconds() + BOOT_SECONDS
    while elapsed_seconds() < until:
        if process.poll() == _NO_MACHINE:
            pytest.skip(log.read_text(encoding="utf-8").strip())
        assert process.poll() is None, log.read_text(encoding="utf-8")
        pid = _find_child(process.pid)
        if pid and Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == "systemd":
            machine = Machine(pid, log.parent / "shared")
            if machine.run("systemctl is-active machine.target", check=False).returncode == 0:
                return machine
        time.sleep(0.1)
    pytest.fail(f"the machine has not booted: {log.read_text(encoding='utf-8')}")


def _find_child(pid: int) -> int:
    """Return the only child of a process; 0 while it has none."""
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii"))
    return 0


@contextlib.contextmanager
def _control_group() -> Iterator[Path]:
    """Make a control group for a machine, and remove what it has made there in the end."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines())
    hierarchy = next((Path(at) for _, at, kind, *_ in mounts if kind == "cgroup2"), None)
    if hierarchy is None:
        pytest.skip("there are no control groups of version 2 here")
    group = Path(tempfile.mkdtemp(prefix="sekisho-machine-", dir=hierarchy))
    try:
        yield group
    finally:
        (group / "cgroup.kill").write_text("1", encoding="ascii")
        while "populated 1" in (group / "cgroup.events").read_text(encoding="ascii"):
            time.sleep(0.01)
        for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            folder.rmdir()
        group.rmdir()


def _pip_settings() -> dict[str, str]:
    """Return what this machine needs to reach its package index: settings of pip, nothing else of it."""
    return {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}  # noqa: TID251
