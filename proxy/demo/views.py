# SPDX-License-Identifier: Apache-2.0
"""Answers that hold many people's records: who asks for them, what the API answers, and what of it must not arrive.

Pure: ``stage`` asks the API and the gateway.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from proxy.demo.story import OFFICE, SEOUL, TAIPEI, TAIWAN, Person, Played, Scene
from proxy.model.inspection import Media

Record: TypeAlias = Mapping[str, Any]

PLUS_SUPPORT: Final = Person("Yoon", "yoon", "line-plus", residence="KR", groups=("support",))
PLUS_DATA: Final = Person("Han", "han", "line-plus", residence="KR", groups=("data-team",))
AUDITOR: Final = Person("Ueda", "ueda", "ly", groups=("audit",))

LIN: Final = "%E6%9E%97"
"""林, a surname in Japan and in Taiwan, as a query says it."""


class View(msgspec.Struct, frozen=True):
    """One request for records, and what must come of them."""

    scene: Scene
    left: int
    """Records that must reach the caller."""
    hidden: tuple[tuple[str, str], ...]
    """Country and member: what the API answers there must not arrive anywhere in the answer."""
    members: tuple[str, ...] = ()
    """Those of a record to show; none where there are so many records that only their number is shown, by country."""
    records: str = ""
    """The member under which the records stand; empty where the document, the line or the event's data is one."""
    media: Media = Media.JSON


class Answer(msgspec.Struct, frozen=True):
    """The records of an answer, and what stands beside them."""

    records: tuple[Record, ...]
    others: Mapping[str, Any] = {}


class Viewed(msgspec.Struct, frozen=True):
    """One view as it went."""

    view: View
    played: Played
    before: Answer
    """As the API answers."""
    after: Answer
    """As the caller gets it."""
    leaks: tuple[str, ...]
    """What arrived of what must not."""
    content: Mapping[str, Any]
    """What the ledger says of the records."""

    @property
    def as_expected(self) -> bool:
        """Whether status, cause and records are the expected ones, and nothing leaked."""
        return self.played.as_expected and len(self.after.records) == self.view.left and not self.leaks


def read_answer(body: bytes, view: View) -> Answer:
    """Read an answer as its view says.

    Raises:
        ValueError: it is none such.
    """
    if view.media is Media.LINES:
        return Answer(tuple(json.loads(line) for line in body.splitlines()))
    if view.media is Media.EVENTS:
        lines = body.decode("utf-8").splitlines()
        return Answer(tuple(json.loads(line.partition(":")[2]) for line in lines if line.startswith("data:")))
    document = json.loads(body)
    if not view.records:
        return Answer((document,))
    others = {name: value for name, value in document.items() if name != view.records}
    return Answer(tuple(document[view.records]), others)


def find_leaks(before: Answer, body: bytes, hidden: Sequence[tuple[str, str]]) -> list[str]:
    """Return what of the API's answer stands in a body and must not: ``country.member`` for each value found."""
    text = body.decode("utf-8")
    return [
        f"{country}.{member}"
        for country, member in hidden
        for record in before.records
        if record["country"] == country and str(record[member]) in text
    ]


def count_countries(answer: Answer) -> Counter[str]:
    """Return how many records of each country an answer holds."""
    return Counter(record["country"] for record in answer.records)


def find_content(lines: Iterable[Record]) -> Mapping[str, Any]:
    """Return what the ledger's lines of one request say of all of its records: the last that says anything."""
    found: Mapping[str, Any] = {}
    for line in lines:
        found = line.get("content", found)
    return found


_USER: Final = ("id", "country", "name", "phone", "line_id")
SEARCH: Final = f"GET /v1/users?name={LIN}&limit=6"
_JP_USERS: Final = (("JP", "name"), ("JP", "phone"), ("JP", "email"), ("JP", "line_id"))

_PAYMENT: Final = ("country", "user_id", "paid_on", "amount", "currency")
_REPORT: Final = ("country", "reporter_id", "text")

VIEWS: Final = (
    View(
        Scene("LINE Taiwan's operator looks for 林", TAIWAN, TAIPEI, SEARCH, 200, "taiwan-reads-taiwan"),
        left=3, hidden=(*_JP_USERS, ("TW", "line_id")), members=_USER, records="users",
    ),
    View(
        Scene("LINE Plus's support looks for the same", PLUS_SUPPORT, SEOUL, SEARCH, 200, "line-plus-supports-japan"),
        left=3, hidden=(*_JP_USERS, ("TW", "name"), ("TW", "phone")), members=_USER, records="users",
    ),
    View(
        Scene("LINE Plus exports its region", PLUS_DATA, SEOUL, "GET /v1/export", 200, "line-plus-exports-the-region"),
        left=1500, hidden=(("JP", "phone"), ("TW", "phone"), ("US", "phone")), media=Media.LINES,
    ),
    View(
        Scene("Reports as users write them, to LINE Taiwan", TAIWAN, TAIPEI, "GET /v1/reports/feed", 200,
              "taiwan-reads-taiwan"),
        left=1, hidden=(("JP", "text"), ("KR", "text"), ("TH", "text")), members=_REPORT, media=Media.EVENTS,
    ),
    View(
        Scene("An auditor asks for a day's payments, served in Korea", AUDITOR, OFFICE,
              "GET /v1/payments?day=2021-09-02&limit=6", 200, "auditors-read-payments"),
        left=6, hidden=(("JP", "shop"),), members=_PAYMENT, records="payments",
    ),
    View(
        Scene("… and for a Japanese user's, served in Japan", AUDITOR, OFFICE, "GET /v1/jp/payments/42", 200,
              "auditors-read-payments"),
        left=2, hidden=(), members=_PAYMENT, records="payments",
    ),
)  # fmt: skip
