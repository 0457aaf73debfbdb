# SPDX-License-Identifier: Apache-2.0
"""What ends a token before its ``exp``: the register ``revoked``, and its issuer's word (RFC 7662).

- A line of the register ends one token (``jti``), those of one subject, or all of an issuer's that were issued
  ``before`` an instant. It holds from when the folder is in force; callers that are kept end with it.
- Whose tokens have ended acts by none: a delegated token (RFC 8693 4.1) ends with those of everybody whom its ``act``
  names. It was got with one of theirs, and not later than it says itself.
- An issuer's answer ends a token unless ``active`` is literally true, and unless what it says of the token is what the
  token says of itself. An answer that is none is no word at all.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from proxy.caller.issuers import Issuer
from proxy.caller.json_object import read_object
from proxy.caller.tokens import read_audiences
from proxy.model.decision import Reason
from proxy.model.entry import Entry, Id, Instant, Text
from proxy.model.problem import Problem, nearest


class RevokedEntry(Entry):
    """Tokens that end at once."""

    issuer: Id
    jti: Text | None = None
    """One token, by its id."""
    subject: Text | None = None
    """Those of one subject."""
    before: Instant | None = None
    """Only those issued before; left out: all of them, also those to come."""
    reason: Text
    """Why, for whoever reads the register."""
    since: Instant
    """When that was decided: a fact for whoever reads the register, not a beginning."""


class Revoked(msgspec.Struct, frozen=True):
    """The register, ready for requests."""

    tokens: Mapping[tuple[str, str], None] = {}
    """Issuer id and ``jti``: a mapping, because those travel to a serving process in slices."""
    subjects: Mapping[tuple[str, str], float] = {}
    """Issuer id and ``sub`` to when tokens must have been issued at the earliest."""
    issuers: Mapping[str, float] = {}
    by_token: frozenset[str] = frozenset()
    """Issuers with single tokens revoked: theirs must say which they are."""

    def judge(self, issuer_id: str, claims: Mapping[str, Any], actors: Sequence[tuple[str, str]] = ()) -> Reason | None:
        """Return why a token is at its end; None if it is not.

        Args:
            issuer_id: its issuer's.
            claims: verified.
            actors: issuer id and ``sub`` of everybody whom it names as an actor.
        """
        named = ((issuer_id, claims["sub"]), *actors)
        earliest = max(max(self.subjects.get(each, -math.inf), self.issuers.get(each[0], -math.inf)) for each in named)
        if claims["iat"] < earliest or (issuer_id, claims.get("jti")) in self.tokens:
            return Reason.TOKEN_REVOKED
        return Reason.TOKEN_CLAIM_MISSING if issuer_id in self.by_token and "jti" not in claims else None


NOTHING_REVOKED: Final = Revoked()


def check_revoked(entries: Sequence[RevokedEntry], issuer_ids: frozenset[str]) -> list[Problem]:
    """Return what is wrong with the register: issuers that do not exist, lines that say too much or too little."""
    problems = []
    for index, entry in enumerate(entries):
        if entry.issuer not in issuer_ids:
            hint = nearest(entry.issuer, issuer_ids)
            problems.append(Problem((index, "issuer"), f"no issuer {entry.issuer!r}{hint}"))
        if entry.jti is not None and (entry.subject is not None or entry.before is not None):
            problems.append(Problem((index, "jti"), "one token has one subject and one time: leave those out"))
        if entry.jti is None and entry.subject is None and entry.before is None:
            message = "this would end all its tokens for ever: write `jti`, `subject` or `before`, or remove the issuer"
            problems.append(Problem((index,), message))
    return problems


def compile_revoked(entries: Sequence[RevokedEntry]) -> Revoked:
    """Return the register as requests need it. The entries have been checked."""
    subjects: dict[tuple[str, str], float] = {}
    issuers: dict[str, float] = {}
    for entry in entries:
        before = math.inf if entry.before is None else entry.before.timestamp()
        if entry.subject is not None:
            of = (entry.issuer, entry.subject)
            subjects[of] = max(before, subjects.get(of, -math.inf))
        elif entry.jti is None:
            issuers[entry.issuer] = max(before, issuers.get(entry.issuer, -math.inf))
    tokens = dict.fromkeys((entry.issuer, entry.jti) for entry in entries if entry.jti is not None)
    return Revoked(tokens, subjects, issuers, frozenset(issuer_id for issuer_id, _ in tokens))


class Introspected(msgspec.Struct, frozen=True):
    """What an issuer said of one token."""

    is_active: bool
    said: Mapping[str, Any]
    """Its claims, as far as they must agree."""
    until: float
    """Seconds since 1970 when it must be asked again."""


_AGREEING: Final = ("iss", "sub", "exp", "iat", "cnf")
"""RFC 7662 2.2, RFC 8705 3.2: what an answer may say of a token, and the token says itself, or is not bound."""
_AGREEING_IF_SAID: Final = ("nbf", "jti")


def read_introspection(document: bytes, until: float) -> Introspected | None:
    """Read an answer (RFC 7662 2.2); None if it is none: ``active`` must be true or false, and nothing like it."""
    answer = read_object(document)
    if answer is None or not isinstance(answer.get("active"), bool):
        return None
    said: dict[str, Any] = {name: answer[name] for name in (*_AGREEING, *_AGREEING_IF_SAID, "aud") if name in answer}
    return Introspected(answer["active"], said, until)


def judge_introspected(answer: Introspected, claims: Mapping[str, Any], issuer: Issuer) -> Reason | None:
    """Return why a token is not to be believed by what its issuer said of it; None if it is."""
    if not answer.is_active:
        return Reason.TOKEN_REVOKED
    said = answer.said
    compared = (*_AGREEING, *(name for name in _AGREEING_IF_SAID if name in claims))
    agrees = all(said[name] == claims.get(name) for name in compared if name in said)
    names_us = "aud" not in said or bool(read_audiences(said["aud"]) & issuer.audiences)
    return None if agrees and names_us else Reason.TOKEN_INTROSPECTED_OTHERWISE
