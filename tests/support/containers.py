# SPDX-License-Identifier: Apache-2.0
"""A container without an engine: a process with a network, a root file system and rights of its own. Needs root.

What an image holds is taken from this machine: our program from the checkout, others from Debian's packages.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import msgspec

from tests.support.image import ROOT, read_stages

PROGRAMS: Final = ("ip", "mount", "nsenter", "setpriv", "sysctl", "unshare", "wget")
IP, NSENTER = (shutil.which(name) or name for name in ("ip", "nsenter"))
PLAIN_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STOP_SECONDS: Final = 30
_SYSTEM: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DEVICES: Final = ("null", "zero", "full", "random", "urandom")
_ETC: Final = {
    "passwd": "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "nsswitch.conf": "hosts: files dns\n",
    "resolv.conf": "",
}


def missing_rights() -> str:
    """Return the sentence that says what is missing, empty if nothing is."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        packages = "iproute2 procps util-linux wget"
        return f"{', '.join(missing)} cannot be found: apt-get install --no-install-recommends {packages}."
    if os.geteuid() != 0:
        return "Networks and file systems of their own can only be made by root: run the tests as root."
    try:
        with network_namespace(f"sekisho{os.getpid()}-probe"):
            return ""
    except subprocess.CalledProcessError as error:
        return f"No network of its own can be made here: {error.stderr.decode().strip()}."


class Image(msgspec.Struct, frozen=True):
    """What an image brings, beside the system's own programs."""

    entrypoint: tuple[str, ...]
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    owned: Mapping[str, int] = {}
    """Folders and whose they are: a new volume that is mounted on one has its owner."""
    files: Mapping[str, Path] = {}
    """Where files and folders of this machine are seen."""


def our_image(folder: Path) -> Image:
    """Return what the image file makes, with the checkout's program in the place of the installed one.

    Args:
        folder: where the program's start script is written.
    """
    final = read_stages(ROOT / "Dockerfile")[-1]
    pairs = (word.partition("=") for word in " ".join(final.all("ENV")).split())
    steps = " && ".join(final.all("RUN"))
    made = re.search(r"install -d -o sekisho -g sekisho -m 0700 ([^&]+)", steps)
    uid = re.search(r"--uid (\d+)", steps)
    assert made is not None
    assert uid is not None
    script = folder / "sekisho"
    script.write_text(
        '#!/bin/sh\nPYTHONPATH=/opt/sekisho/code exec /opt/sekisho/environment/bin/python -m proxy.cli "$@"\n', "ascii"
    )
    script.chmod(0o755)
    return Image(
        tuple(msgspec.json.decode(final.all("ENTRYPOINT")[0])),
        tuple(msgspec.json.decode(final.all("CMD")[0])),
        {name: value.replace("$PATH", PLAIN_PATH) for name, _, value in pairs},
        dict.fromkeys(made[1].split(), int(uid[1])),
        {
            "/opt/sekisho/bin/sekisho": script,
            "/opt/sekisho/code/proxy": ROOT / "proxy",
            "/opt/sekisho/environment": Path(sys.prefix),
            sys.base_prefix: Path(sys.base_prefix),
        },
    )


class Mount(msgspec.Struct, frozen=True):
    """A file or folder of this machine, and where a container sees it."""

    source: Path
    target: str
    read_only: bool


class Container:
    """One container.

    Args:
        image: of its file system.
        folder: where its root is mounted, and its output kept.
        network: the name of its network namespace.
        hosts: what its ``/etc/hosts`` says.
        mounts: what it sees, beside its image.
        user: as which user and group it runs, such as ``10001:10001``.
        work: its working folder.
        env: variables, beside those of its image.
        read_only: whether its root cannot be written to.
        scratch: folders in memory.
    """

    def __init__(
        self,
        image: Image,
        folder: Path,
        *,
        network: str,
        hosts: str,
        mounts: Sequence[Mount],
        user: str,
        work: str,
        env: Mapping[str, str],
        read_only: bool,
        scratch: Sequence[str],
    ) -> None:
        self._image = image
        self._network = network
        self._folder = folder
        self._ready = folder / "ready"
        self._mounts = [*(Mount(source, target, read_only=True) for target, source in image.files.items()), *mounts]
        self._scratch = scratch
        self._read_only = read_only
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "root").mkdir(parents=True)
        (folder / "hosts").write_text(hosts, encoding="ascii")
        uid, _, gid = user.partition(":")
        self._as_user = [
            "setpriv", f"--reuid={uid}", f"--regid={gid or uid}", "--clear-groups", "--no-new-privs",
            "--bounding-set=-all", "--inh-caps=-all", "env", "-i", f"--chdir={work}",
            *(f"{name}={value}" for name, value in ({"PATH": PLAIN_PATH} | {**image.env} | {**env}).items()),
        ]  # fmt: skip

    @property
    def output(self) -> str:
        """All that it has printed."""
        return (self._folder / "output").read_text(encoding="utf-8", errors="replace")

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def start(self, command: Sequence[str], entrypoint: Sequence[str] | None = None) -> None:
        """Start it.

        Args:
            command: in place of the image's, if there is one.
            entrypoint: likewise.
        """
        words = [*(entrypoint or self._image.entrypoint), *(command or self._image.command)]
        program = shlex.join([*self._as_user, *words])
        script = f"{self._make_root()}\ntouch {self._ready}\nexec chroot {self._folder / 'root'} {program}"
        with self._open_output() as output:
            self._process = subprocess.Popen(
                [NSENTER, f"--net=/run/netns/{self._network}", "unshare", "--mount", "sh", "-euc", script],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/",
            )  # fmt: skip
        while self._process.poll() is None and not self._ready.exists():
            time.sleep(0.01)

    def run(self, *command: str, seconds: float = 60) -> "subprocess.CompletedProcess[str]":
        """Run a command inside, beside what runs there."""
        assert self._process is not None
        inside = [NSENTER, f"--target={self._process.pid}", "--mount", "--net", "chroot", str(self._folder / "root")]
        return subprocess.run(
            [*inside, *self._as_user, *command], capture_output=True, text=True, timeout=seconds, check=False
        )

    def stop(self) -> int:
        """Stop it as an engine does, and return its exit code; what does not stop in time is killed."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()

    def _open_output(self) -> IO[bytes]:
        return (self._folder / "output").open("ab")

    def _make_root(self) -> str:
        """Return the commands that put its root file system together, in a mount namespace that ends with it."""
        root = self._folder / "root"
        lines = ["mount --make-rprivate /", f"mount -t tmpfs -o mode=755 tmpfs {root}", f"cd {root}"]
        lines += ["mkdir dev proc etc usr opt run tmp var", "mount --rbind /usr usr", "mount --rbind /proc proc"]
        for name in _SYSTEM:
            place = Path("/") / name
            if place.is_symlink():
                lines.append(f"ln -s {place.readlink()} {name}")
            elif place.is_dir():
                lines.append(f"mkdir {name}; mount --bind /{name} {name}")
        lines += [f"touch dev/{name}; mount --bind /dev/{name} dev/{name}" for name in _DEVICES]
        lines += [f"printf %s {shlex.quote(text)} >etc/{name}" for name, text in _ETC.items()]
        lines += [f"cp {self._folder / 'hosts'} etc/hosts", "cp /etc/ld.so.cache etc/"]
        lines += [f"install -d -o {uid} -g {uid} -m 0700 .{path}" for path, uid in self._image.owned.items()]
        for scratch in self._scratch:
            path, _, options = scratch.partition(":")
            lines.append(f"mkdir -p .{path}; mount -t tmpfs -o {options or 'rw'} tmpfs .{path}")
        for mount in self._mounts:
            make = f"mkdir -p .{mount.target}"
            if mount.source.is_file():
                make = f"mkdir -p .{os.path.dirname(mount.target)}; touch .{mount.target}"  # noqa: PTH120 - a path inside
            lines.append(f"{make}; mount --bind {shlex.quote(str(mount.source))} .{mount.target}")
            if mount.read_only:
                lines.append(f"mount -o remount,bind,ro .{mount.target}")
        if self._read_only:
            lines.append("mount -o remount,ro .")
        return "\n".join([*lines, "cd /"])


def ip(*words: str, inside: str = "") -> None:
    """Run ``ip``, in a network namespace if one is named."""
    place = ["-n", inside] if inside else []
    subprocess.run([IP, *place, *words], check=True, capture_output=True)


@contextlib.contextmanager
def network_namespace(name: str) -> Iterator[str]:
    """Make a network namespace for the block."""
    ip("netns", "add", name)
    try:
        ip("link", "set", "lo", "up", inside=name)
        yield name
    finally:
        ip("netns", "del", name)
