# SPDX-License-Identifier: Apache-2.0
"""The LINE story as requests: who asks, from where, for whose data, and what must come of it.

Pure: ``stage`` starts the services and plays it.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from proxy.model.decision import Reason

OFFICE: Final = "10.20.3.7"
SEOUL: Final = "10.82.0.9"
DALIAN: Final = "10.86.4.2"
TOKYO_VPN: Final = "203.0.113.24"
TOKYO: Final = "153.120.0.10"
BEIJING: Final = "61.135.169.10"
HONG_KONG: Final = "1.36.0.10"
TAIPEI: Final = "168.95.1.10"
SINGAPORE: Final = "202.79.210.10"


class Person(msgspec.Struct, frozen=True):
    """Somebody with an account."""

    name: str
    sub: str
    affiliate: str
    kind: str = "employee"
    residence: str = "JP"
    groups: tuple[str, ...] = ()
    issuer: str = "corp"

    def claims(self) -> dict[str, Any]:
        """Return the claims as the person's issuer writes them."""
        company = "affiliate" if self.issuer == "corp" else "company"
        return {
            "sub": self.sub,
            company: self.affiliate,
            "employment_type": self.kind,
            "residence_country": self.residence,
            "groups": list(self.groups),
        }


class Scene(msgspec.Struct, frozen=True):
    """One request, and what must come of it."""

    title: str
    person: Person | None
    forwarded_for: str
    """As the edge proxy writes it: what came, and behind it the address it saw."""
    request: str
    status: int
    """The expected answer."""
    by: str
    """The expected rule, or the reason where it does not come to a decision."""
    token: str = "good"  # noqa: S105 - a kind
    """``good``, ``expired`` or ``forged``."""
    body: str | None = None


BY_RULE: Final = frozenset({Reason.RULE_ALLOWS, Reason.RULE_DENIES, Reason.NO_RULE_ALLOWS, Reason.INVARIANT_DENIES})
"""Reasons for which the record names a rule that says more."""


class Played(msgspec.Struct, frozen=True):
    """One scene as it went."""

    scene: Scene
    status: int
    record: Mapping[str, Any]
    """Its line in the ledger."""
    body: bytes = b""
    """Of the answer."""

    @property
    def by(self) -> str:
        """The determining rule, or the reason where no rule was what it came to."""
        reason = str(self.record.get("reason"))
        return self.record.get("rule") or reason if reason in BY_RULE else reason

    @property
    def as_expected(self) -> bool:
        """Whether answer and record are the expected ones."""
        return self.status == self.scene.status and self.by == self.scene.by


SATO: Final = Person("Sato", "sato", "ly")
SUPPORT: Final = Person("Mori", "mori", "ly", groups=("support",))
LAWYER: Final = Person("Kimura", "kimura", "ly", groups=("privacy-team",))
ANALYST: Final = Person("Ono", "ono", "ly", groups=("data-team",))
SHANGHAI: Final = Person("Wang", "wang", "shanghai-digital", residence="CN")
DALIAN_BPO: Final = Person("Liu", "liu", "dalian-bpo", kind="contractor", residence="CN")
TOKYO_BPO: Final = Person("Abe", "abe", "tokyo-bpo", kind="contractor")
CLOUD: Final = Person("Kim", "kim", "naver-cloud", residence="KR", issuer="naver-sso")
IMPOSTOR: Final = Person("Park", "park", "ly", residence="KR", issuer="naver-sso")
GHOST: Final = Person("Nobody", "nobody", "ghost-analytics")
TAIWAN: Final = Person("Chen", "chen", "line-taiwan", residence="TW")
PLUS: Final = Person("Lee", "lee", "line-plus", residence="KR")

PEOPLE: Final[Mapping[str, Person]] = {
    person.sub: person
    for person in (
        SATO, SUPPORT, LAWYER, ANALYST, SHANGHAI, DALIAN_BPO, TOKYO_BPO, CLOUD, IMPOSTOR, GHOST, TAIWAN, PLUS,
    )
}  # fmt: skip
"""Everybody, by how their issuer calls them."""
ISSUERS: Final[Mapping[str, tuple[str, str]]] = {
    "corp": ("https://idp.ly.example", "RS256"),
    "naver-sso": ("https://sso.naver.example", "ES256"),
}
"""What the issuers of the reference bundle write as ``iss``, and how they sign, by declared id."""

JP_USER: Final = "GET /v1/jp/users/42"
JP_REPORT: Final = "GET /v1/jp/reports/42"
CONSOLE: Final = "GET /v1/law-enforcement/jp/users/42"

STORY: Final = (
    Scene("At home", SATO, OFFICE, JP_USER, 200, "ly-staff-read-japan"),
    Scene("A Shanghai subsidiary's engineer, through the Tokyo VPN", SHANGHAI, TOKYO_VPN, JP_USER, 403, "jp-no-china"),
    Scene("Our contractor's contractor in Dalian", DALIAN_BPO, TOKYO_VPN, JP_REPORT, 403, "jp-no-china"),
    Scene("The contractor itself, in Tokyo", TOKYO_BPO, TOKYO, JP_REPORT, 200, "tokyo-bpo-monitors"),
    Scene("… but not the user's record", TOKYO_BPO, TOKYO, JP_USER, 403, "default"),
    Scene("On a business trip in Beijing", SATO, BEIJING, JP_USER, 403, "jp-not-from-china"),
    Scene("The same, with a forged address in front", SATO, f"{OFFICE}, {BEIJING}", JP_USER, 403, "jp-not-from-china"),
    Scene("On a business trip in Hong Kong", SATO, HONG_KONG, JP_USER, 403, "jp-not-from-china"),
    Scene("The Korean parent's engineer", CLOUD, SEOUL, JP_USER, 403, "jp-parent-kept-apart"),
    Scene("The parent's IdP says: LY employee", IMPOSTOR, OFFICE, JP_USER, 403, "jp-no-china"),
    Scene("A company nobody registered", GHOST, OFFICE, JP_USER, 403, "jp-no-china"),
    Scene("The console, from its Chinese developer", SHANGHAI, DALIAN, CONSOLE, 403, "console-is-the-privacy-teams"),
    Scene("The console, from the privacy team", LAWYER, OFFICE, CONSOLE, 200, "privacy-team-answers-police"),
    Scene("… but not over the VPN", LAWYER, TOKYO_VPN, CONSOLE, 403, "console-from-the-office"),
    Scene("LINE Taiwan reads a Taiwanese user", TAIWAN, TAIPEI, "GET /v1/tw/users/44", 200, "taiwan-reads-taiwan"),
    Scene("… but not a Japanese one", TAIWAN, TAIPEI, JP_USER, 403, "default"),
    Scene("LINE Plus reads a Korean user", PLUS, SEOUL, "GET /v1/kr/users/43", 200, "line-plus-runs-the-region"),
    Scene(
        "Support changes a number", SUPPORT, OFFICE, "PUT /v1/jp/users/42/phone", 204, "support-changes-numbers",
        body='{"phone": "090-0123-4567"}',
    ),
    Scene("An export from Singapore", ANALYST, SINGAPORE, "GET /v1/jp/export", 403, "jp-export-stays-home"),
    Scene("An expired token", SATO, OFFICE, JP_USER, 401, "token-expired", token="expired"),  # noqa: S106 - a kind
    Scene("A forged token", SHANGHAI, OFFICE, JP_USER, 401, "token-signature-wrong", token="forged"),  # noqa: S106 - a kind
    Scene("No token", None, OFFICE, JP_USER, 401, "token-missing"),
    Scene("A route that nobody declared", SATO, OFFICE, "GET /v1/jp/friends/42", 404, "route-undeclared"),
    Scene("A path that servers read differently", SATO, OFFICE, "GET /v1/jp/users/%34%32", 400,
          "target-percent-encoded"),
    Scene("An undeclared method", SATO, OFFICE, "DELETE /v1/jp/users/42", 405, "method-undeclared"),
    Scene("By id alone: a directory tells the country", SATO, OFFICE, "GET /v1/users/by-id/42", 200,
          "ly-staff-read-japan"),
    Scene("… to the engineer, too", SHANGHAI, TOKYO_VPN, "GET /v1/users/by-id/42", 403, "jp-no-china"),
    Scene("A hidden row, sought by its phone number", TAIWAN, TAIPEI, "GET /v1/users?phone=070-0667-0295", 400,
          "query-undeclared"),
    Scene(
        "A form that says Taiwan, answered with Japan, too", TAIWAN, TAIPEI, "POST /v1/users/search", 403,
        "subject-not-confirmed", body='{"country": "TW", "name": "林", "limit": 20}',
    ),
)  # fmt: skip

DIRECTORY_DOWN: Final = (
    Scene("A user whom it has told", SATO, OFFICE, "GET /v1/users/by-id/42", 200, "ly-staff-read-japan"),
    Scene("A user whom it has not", SATO, OFFICE, "GET /v1/users/by-id/48", 503, "lookup-unavailable"),
)
"""When the directory is down: what is held is used while it is fresh, and nothing is guessed."""
