# SPDX-License-Identifier: Apache-2.0
"""A bundle with routes whose data is told in every way there is, and a passage through it, its answer included."""

import functools
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.ledger.entry import Rendered, encode_body
from proxy.ledger.record import Recorder
from proxy.model.ports import Volume
from proxy.model.request import Headers, ResponseHead
from proxy.model.subject import BodyNeeded, Located, LookupNeeded, Told
from proxy.origin.geoip import RegistryGeolocator
from proxy.pipeline.checkpoint import NOBODY_COUNTS, Checkpoint
from proxy.pipeline.passage import Passage
from proxy.pipeline.steps import Cut, Forward, Inspect, Need, Part, Refuse, Release
from proxy.redaction.options import RedactionOptions
from tests.support.command import write_policies
from tests.support.keys import RING
from tests.support.passages import NOW, REQUEST_ID, HeldKeys, a_head, a_token
from tests.support.world import DATA_TEAM, STAFF, SUPPORT

HOST: Final = "people.internal"
APART: Final = "http://127.0.0.1:9002"
"""Where the records of Japanese and Thai users are kept."""
_FIELDS: Final = """\
        fields:
          "$.id": user.unique_id
          "$.name": user.name
          "$.phone": {category: user.contact.phone_number, keep: 2}
          "$.country": user.country
"""
_LIST: Final = '{records: "$.people[*]", country: "$.country", id: "$.id"}'
APIS: Final = f"""\
  - id: people
    hosts: [{HOST}]
    upstreams:
      JP: {{url: "{APART}", hosted_in: JP}}
      TH: {{url: "{APART}", hosted_in: JP}}
      default: {{url: "http://127.0.0.1:9001", hosted_in: KR}}
    routes:
      - id: search
        methods: [GET]
        path: /v1/people
        action: read
        subject: {_LIST}
{_FIELDS}
        envelope: {{"$.page": keep, "$.total": total, "$.next": {{cursor: after}}}}
        searchable_by: [name, after]
      - id: all-or-none
        methods: [GET]
        path: /v1/all-or-none
        action: read
        subject: {_LIST}
{_FIELDS}
        on_denied: refuse
      - id: lines
        methods: [GET]
        path: /v1/lines
        action: export
        subject: {{country: "$.country", id: "$.id"}}
{_FIELDS}
        answers: ndjson
        searchable_by: []
      - id: events
        methods: [GET]
        path: /v1/events
        action: read
        subject: {{country: "$.country", id: "$.id"}}
{_FIELDS}
        answers: events
        searchable_by: []
      - id: roster
        methods: [GET]
        path: /v1/roster
        action: read
        subject: {{records: "$.people[*]", id: "$.id", lookup: staff}}
{_FIELDS}
        searchable_by: []
      - id: claimed
        methods: [GET]
        path: /v1/{{country}}/claimed
        action: read
        subject: {{country: "{{country}}", confirm: "$.country", records: "$.people[*]"}}
        parameters: {{country: "[a-z]{{2}}"}}
{_FIELDS}
        searchable_by: []
      - id: vouched
        methods: [GET]
        path: /v1/{{country}}/vouched
        action: read
        subject:
          country: "{{country}}"
          records: "$.people[*]"
          authoritative: {{by: users-team, review_by: 2027-06-30}}
        parameters: {{country: "[a-z]{{2}}"}}
{_FIELDS}
      - id: headed
        methods: [GET, HEAD]
        path: /v1/headed
        action: read
        subject: {{country: {{answer_header: X-Subject-Country}}, records: "$.people[*]"}}
{_FIELDS}
      - id: headed-claim
        methods: [GET]
        path: /v1/{{country}}/headed
        action: read
        subject: {{country: "{{country}}", confirm: {{answer_header: X-Subject-Country}}}}
        parameters: {{country: "[a-z]{{2}}"}}
{_FIELDS}
      - id: member
        methods: [GET]
        path: /v1/members/{{id}}/card
        action: read
        subject: {{id: "{{id}}", lookup: staff}}
{_FIELDS}
      - id: members
        methods: [GET]
        path: /v1/members
        action: read
        subject: {{id: {{query: ids, split: ","}}, lookup: staff, records: "$.people[*]"}}
{_FIELDS}
      - id: find
        methods: [POST]
        path: /v1/find
        action: read
        reads_only: {{by: users-team, review_by: 2027-06-30}}
        subject:
          country: {{body: "$.country"}}
          records: "$.people[*]"
          authoritative: {{by: users-team, review_by: 2027-06-30}}
{_FIELDS}
      - id: move
        methods: [PUT]
        path: /v1/move
        action: update
        subject: {{country: {{body: "$.country"}}, authoritative: {{by: users-team, review_by: 2027-06-30}}}}
{_FIELDS}
"""
RULES: Final = """\
  - {id: ly-reads-three, effect: allow, when: {resource.api: people, caller.affiliate: ly,
      subject.country: {any: [TW, KR, TH]}}}
  - {id: not-support, effect: deny, when: {resource.api: people, caller.groups: {any: [support]}}}
  - {id: data-team-reads-all, effect: allow, when: {resource.api: people, caller.groups: {any: [data-team]}}}
  - {id: korean-phones, effect: mask, when: {resource.api: people, subject.country: KR,
      caller.groups: {none: [data-team]}}, transforms: {user.contact: mask}}
  - {id: thai-phones-stay, effect: deny, when: {resource.api: people, subject.country: TH,
      resource.data: {any: [user.contact]}, caller.groups: {none: [data-team]}}}
"""
"""STAFF may see TW as it is, KR with phones masked, TH without them, and JP not at all; DATA_TEAM may see everything;
SUPPORT nothing."""
LOOKUPS: Final = '  - {id: staff, kind: prefixes, prefixes: {"0": JP}}\n'
"""What stands in the bundle; passages ask ``Register``."""
JSON: Final = ("Content-Type", "application/json")
LINES: Final = ("Content-Type", "application/x-ndjson")
EVENTS: Final = ("Content-Type", "text/event-stream")
WHO: Final[Mapping[str, Mapping[str, Any]]] = {"staff": STAFF, "data-team": DATA_TEAM, "support": SUPPORT}


@functools.cache
def people_bundle(more_rules: str = "", grants: str = "", apis: str = APIS) -> Snapshot:
    """Load the bundle."""
    with tempfile.TemporaryDirectory() as folder:
        return load_bundle(write_people(Path(folder) / "policies", more_rules, grants, apis))


def write_people(
    folder: Path, more_rules: str = "", grants: str = "", apis: str = APIS, lookups: str = LOOKUPS
) -> Path:
    """Write the bundle: the reference bundle without its tests, and more."""
    registers = {"apis": apis, "rules": RULES + more_rules, "lookups": lookups} | ({"grants": grants} if grants else {})
    more = "".join(f"  more-{name}.yaml: [{name}]\n" for name in registers)
    edits = [
        ("apis/users.yaml", "  - id: users\n", "  - id: users\n    hosts: [users.internal]\n"),
        ("bundle.yaml", "  tests/line-2021.yaml: [tests]\n", more),
    ]
    write_policies(folder, *edits)
    (folder / "tests" / "line-2021.yaml").unlink()
    for name, text in registers.items():
        (folder / f"more-{name}.yaml").write_text(f"{name}:\n{text}", encoding="utf-8")
    return folder


def observing(snapshot: Snapshot | None = None) -> Snapshot:
    """Return a bundle under which nothing is blocked."""
    return msgspec.structs.replace(snapshot or people_bundle(), observe_until=NOW + 600)


class Register:
    """A directory: of some ids it knows the countries at once, of others once it was asked, of others never."""

    def __init__(self, known: Mapping[str, str] | None = None, *, asked: Mapping[str, str] | None = None) -> None:
        self.known = {id_: _read_told(text) for id_, text in (known or {}).items()}
        self.later = {id_: _read_told(text) for id_, text in (asked or {}).items()}
        self.questions: list[tuple[str, ...]] = []

    def find(self, lookup: str, id_: str, now: float) -> Located | None:
        del now
        assert lookup == "staff"
        return self.known.get(id_)

    def answer(self, needed: LookupNeeded) -> None:
        """Answer as a driver would have it answered."""
        assert needed.lookup == "staff"
        self.questions.append(needed.ids)
        self.known |= {id_: self.later[id_] for id_ in needed.ids if id_ in self.later}


def _read_told(text: str) -> Located:
    """Read countries as ``JP TW``; ``?`` stands for an id that nobody knows, ``!`` for one that nobody could tell."""
    if text in {"?", "!"}:
        return Located(Told.NOT_FOUND if text == "?" else Told.FAILED)
    return Located(Told.FOUND, tuple(text.split()))


def a_checkpoint(
    snapshot: Snapshot | None = None,
    directory: Register | None = None,
    *,
    hold: int = 1 << 20,
    volume: Volume = NOBODY_COUNTS,
) -> Checkpoint:
    snapshot = snapshot or people_bundle()
    return Checkpoint(
        snapshot,
        HeldKeys(snapshot),
        RegistryGeolocator(),
        Recorder(RING, snapshot.digest),
        volume=volume,
        directory=directory or Register(),
        inspect=RedactionOptions(inspect_hold_bytes=hold),
    )


def person(id_: str, country: str | None, name: str = "") -> dict[str, Any]:
    """Make a record; its name and its phone tell whose it is."""
    where = {} if country is None else {"country": country}
    return {"id": id_, "name": name or f"name-{id_}", "phone": f"phone-{id_}"} | where


def people(*records: dict[str, Any], **members: Any) -> bytes:
    return json.dumps({"people": records} | members, separators=(",", ":")).encode()


def mixed(text: str, **members: Any) -> bytes:
    """Make a list of records that is written as ``TW1 JP2``."""
    return people(*(person(word[2:], word[:2]) for word in text.split()), **members)


class Came(msgspec.Struct):
    """What came of a request, as a driver that has everything at hand sees it."""

    steps: list[object] = []
    """Of the passage, in their order."""
    lines: list[dict[str, Any]] = []
    body: bytes = b""

    @property
    def last(self) -> Any:
        return self.steps[-1]

    @property
    def forward(self) -> Forward | None:
        return next((each for each in self.steps if isinstance(each, Forward)), None)

    @property
    def status(self) -> int | None:
        """What the caller is answered; None where it was asked for nothing yet."""
        for step in self.steps:
            if isinstance(step, Part) and step.release is not None:
                return step.release.status
            if isinstance(step, Release):
                return step.status
        return None if self.reason is None else self.last.outcome.status

    @property
    def reason(self) -> str | None:
        """Why it was refused or cut."""
        last = self.last
        return str(last.outcome.reason if isinstance(last, Refuse) else last.reason) if self.is_ended_by_us else None

    @property
    def is_ended_by_us(self) -> bool:
        return isinstance(self.last, Refuse | Cut)

    @property
    def is_looked_into(self) -> bool:
        return any(isinstance(each, Inspect) for each in self.steps)

    @property
    def ids(self) -> list[str]:
        """Of the records that left, where that is a list."""
        return [each.get("id") for each in json.loads(self.body)["people"]]

    @property
    def decision(self) -> dict[str, Any]:
        (line,) = (line for line in self.lines if line["line"] == "decision")
        return line

    @property
    def fields(self) -> str:
        """Of the head that left."""
        released = [each.release for each in self.steps if isinstance(each, Part) and each.release is not None]
        released += [each for each in self.steps if isinstance(each, Release)]
        return released[0].fields.decode()


def read_line(line: Any) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line.body if isinstance(line, Rendered) else encode_body(line))
    return record


class Drive:
    """Drives one passage.

    Args:
        checkpoint: what it goes by.
        directory: answers its look-ups.
    """

    def __init__(
        self, checkpoint: Checkpoint | None = None, directory: Register | None = None, now: float = NOW
    ) -> None:
        self.directory = directory or Register()
        self.checkpoint = checkpoint or a_checkpoint(directory=self.directory)
        self.passage = Passage(self.checkpoint, REQUEST_ID, now)
        self.came = Came([], [])

    def ask(
        self,
        target: str,
        *fields: tuple[str, str],
        who: str = "staff",
        name: str = "carol",
        method: str = "GET",
        body: bytes = b"",
    ) -> Came:
        """Ask, up to what goes to the API or is refused."""
        token = a_token({**WHO[who], "sub": name})
        step: object = self.passage.begin(a_head(target, *fields, method=method, host=HOST, token=token))
        while isinstance(step, Need):
            self.came.steps.append(step)
            if isinstance(step.what, BodyNeeded):
                step = self.passage.supply(step, body)
            else:
                self.meet(step)
                step = self.passage.supply(step)
        return self.take(step)

    def meet(self, need: Need) -> None:
        if isinstance(need.what, LookupNeeded):
            self.directory.answer(need.what)

    def answer(self, *parts: bytes, head: Headers = (JSON,), status: int = 200, ended: bool = True) -> Came:
        """Have the API answer, in parts as they come."""
        whole = parts[0] if len(parts) == 1 and ended else None
        step = self.passage.answer(ResponseHead(status, tuple(head)), None if whole is None else len(whole), 0.25)
        self.take(step)
        if isinstance(step, Inspect):
            self.give(*parts, ended=ended)
        elif isinstance(step, Release):
            self.came.body = b"".join(parts)
        return self.came

    def give(self, *parts: bytes, ended: bool = True) -> Came:
        """Give more of the body of an answer that is looked into."""
        for number, part in enumerate(parts):
            is_end = ended and number == len(parts) - 1
            looked: object = self.passage.inspect(part, ended=is_end, seconds=0.25)
            while isinstance(looked, Need):
                self.came.steps.append(looked)
                self.meet(looked)
                looked = self.passage.inspect(b"", ended=is_end, seconds=0.25)
            if looked is not None:
                self.take(looked)
            if self.came.is_ended_by_us:
                break
        return self.came

    def take(self, step: Any) -> Came:
        self.came.steps.append(step)
        self.came.lines += [read_line(line) for line in getattr(step, "lines", ())]
        if isinstance(step, Part):
            self.came.body += step.data
        return self.came


def play(
    target: str,
    *parts: bytes,
    who: str = "staff",
    method: str = "GET",
    head: Headers = (JSON,),
    status: int = 200,
    checkpoint: Checkpoint | None = None,
    directory: Register | None = None,
    asked: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Came:
    """Ask, and have the API answer if it is asked."""
    drive = Drive(checkpoint, directory)
    came = drive.ask(target, *asked, who=who, method=method, body=body)
    return drive.answer(*(parts or (b"",)), head=head, status=status) if came.forward is not None else came
