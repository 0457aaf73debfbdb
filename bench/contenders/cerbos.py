# SPDX-License-Identifier: Apache-2.0
"""Cerbos, a policy decision point that is asked over HTTP: what a decision costs that lives in another process.

- The binary comes in the npm package `@cerbos/cerbos-linux-x64` (100 MB, Apache-2.0), which is nothing but it.
- Telemetry and audit are off, policies come from a folder that is not watched, both listeners are on loopback.
- The client is as thin as it can be: one kept connection, the bytes of every request made beforehand.
- Its policies say what Sekisho's say: `TEN_RULES` of `bench.decisions`, or the first two and the last of them, the
  edge benchmark's three. Cerbos denies by default, and a deny overrides an allow, as with us.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.harness import BenchError, Need, find_program
from bench.identity import AFFILIATE
from bench.processes import LOOPBACK, Launch, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PACKAGE: Final = "@cerbos/cerbos-linux-x64"
BINARY: Final = Path("node_modules", PACKAGE, "cerbos-linux-x64")
ALLOWED: Final = b'"EFFECT_ALLOW"'
ANSWER_SECONDS: Final = 10.0


def find_cerbos(name: str = "cerbos") -> str | None:
    """Return the path of the binary: a program of that name, or npm's package in the venv or for the whole machine."""
    found = find_program(name)
    if found is not None:
        return found
    folders = [Path(sys.prefix, "lib"), *global_folders()]
    return next((str(folder / BINARY) for folder in folders if (folder / BINARY).is_file()), None)


def global_folders() -> list[Path]:
    """Return where npm keeps what is installed for the whole machine; none without npm."""
    npm = find_program("npm")
    if npm is None:
        return []
    told = subprocess.run([npm, "root", "--global"], capture_output=True, text=True, check=False).stdout.strip()
    return [Path(told).parent] if told else []


NEED: Final = Need("cerbos", f"npm install --global --prefix .venv {PACKAGE}", find_cerbos)

CONFIG: Final = """\
server:
  httpListenAddr: "{host}:{http_port}"
  grpcListenAddr: "{host}:{grpc_port}"
telemetry: {{disabled: true}}
audit: {{enabled: false}}
storage:
  driver: disk
  disk: {{directory: "{policies}", watchForChanges: false}}
"""


def deny_expressions(listed: Sequence[str], countries: Sequence[str]) -> list[str]:
    """Return what denies, in CEL: the first country also for a request from a listed one."""
    named = json.dumps(list(listed))
    tied = [f'R.attr.country == "{country}" && hasIntersection(P.attr.countries, {named})' for country in countries]
    return [tied[0], f'R.attr.country == "{countries[0]}" && P.attr.origin in {named}', *tied[1:]]


def render_policy(listed: Sequence[str], countries: Sequence[str]) -> str:
    """Return the policy file (JSON is YAML): the denials, and what allows the head office's own staff."""
    allow = f'P.attr.affiliate == "{AFFILIATE}" && R.attr.country == "{countries[0]}"'
    rules = [
        *(render_rule("EFFECT_DENY", expression) for expression in deny_expressions(listed, countries)),
        render_rule("EFFECT_ALLOW", allow),
    ]
    policy = {"version": "default", "resource": "record", "rules": rules}
    return json.dumps({"apiVersion": "api.cerbos.dev/v1", "resourcePolicy": policy}, indent=1)


def render_rule(effect: str, expression: str) -> dict[str, object]:
    """Return one rule for whoever reads."""
    return {"actions": ["read"], "effect": effect, "roles": ["*"], "condition": {"match": {"expr": expression}}}


def render_question(principal: Mapping[str, object], country: str, record: str) -> bytes:
    """Return the bytes of one HTTP request that asks for one decision.

    Args:
        principal: the caller's attributes: affiliate, countries, origin.
        country: the subject's country.
        record: the subject's id.
    """
    resource = {"kind": "record", "id": record, "attr": {"country": country}}
    asked = {
        "requestId": "bench",
        "principal": {"id": "x", "roles": ["staff"], "attr": dict(principal)},
        "resources": [{"actions": ["read"], "resource": resource}],
    }
    body = json.dumps(asked).encode()
    head = (
        f"POST /api/check/resources HTTP/1.1\r\nHost: {LOOPBACK}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(frozen=True, slots=True)
class Cerbos:
    """A server that is running, and the one connection to it."""

    connection: socket.socket

    def allows(self, question: bytes) -> bool:
        """Ask for one decision.

        Raises:
            BenchError: If the server answers anything but a decision.
        """
        self.connection.sendall(question)
        answer = self.connection.recv(65536)
        head, found, body = answer.partition(b"\r\n\r\n")
        while not found:
            answer += self.receive()
            head, found, body = answer.partition(b"\r\n\r\n")
        missing = length_of(head) - len(body)
        while missing > 0:
            more = self.receive()
            body += more
            missing -= len(more)
        return ALLOWED in body

    def receive(self) -> bytes:
        """Return some more of an answer."""
        more = self.connection.recv(65536)
        if not more:
            raise BenchError("cerbos closed the connection")
        return more


def length_of(head: bytes) -> int:
    """Return the length of a good answer's body, told in its head."""
    _, named, rest = head.partition(b"\r\nContent-Length: ")
    if not head.startswith(b"HTTP/1.1 200 ") or not named:
        raise BenchError(f"cerbos answered {head[:200]!r}")
    return int(rest.split(b"\r\n", 1)[0])


@contextmanager
def start_cerbos(room: Path, core: int, listed: Sequence[str], countries: Sequence[str]) -> Iterator[Cerbos]:
    """Run the server and connect to it.

    Args:
        room: an empty folder.
        core: the processor core it may use.
        listed: the countries to which no caller may be tied.
        countries: the countries of the subjects that a rule protects so; the first has a rule on whereabouts, too.
    """
    policies, port = room / "policies", free_port()
    policies.mkdir()
    (policies / "record.yaml").write_text(render_policy(listed, countries))
    config = CONFIG.format(host=LOOPBACK, http_port=port, grpc_port=free_port(), policies=policies)
    (room / "cerbos.yaml").write_text(config)
    command = [find_cerbos() or "cerbos", "server", "--config", str(room / "cerbos.yaml"), "--log-level", "warn"]
    launch = Launch(command, core, port, room / "output")
    with running(launch), socket.create_connection((LOOPBACK, port), timeout=ANSWER_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Cerbos(connection)
