# SPDX-License-Identifier: Apache-2.0
"""What was decided, by which rule, how surely, and why.

Every "no" has a reason of its own, listed once, here. ``pipeline.answers`` says which HTTP status each becomes.
"""

import enum
from collections.abc import Mapping

import msgspec

from proxy.model.api import Transform


class Effect(enum.StrEnum):
    """What a rule says. A decision is deny or allow; an allow may carry transforms."""

    ALLOW = "allow"
    DENY = "deny"
    MASK = "mask"
    """Only with transforms. Of rules alone."""


class Severity(enum.StrEnum):
    """How bad an attempt against a rule is, from worst to least."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Certainty(enum.StrEnum):
    """How a rule came to apply."""

    MATCHED = "matched"
    """Every fact it asks for is known."""
    BY_UNKNOWN = "by-unknown"
    """Facts that it asks for are unknown, and a deny rule applies then too."""


class Reason(enum.StrEnum):
    """Why a request got its answer."""

    # What is asked: the target, the host, the headers.
    METHOD_UNSUPPORTED = "method-unsupported"
    TARGET_TOO_LONG = "target-too-long"
    TARGET_NOT_ORIGIN_FORM = "target-not-origin-form"
    TARGET_HAS_FRAGMENT = "target-has-fragment"
    TARGET_PERCENT_ENCODED = "target-percent-encoded"
    TARGET_EMPTY_SEGMENT = "target-empty-segment"
    TARGET_DOT_SEGMENT = "target-dot-segment"
    TARGET_CHARACTER = "target-character"
    QUERY_CHARACTER = "query-character"
    HOST_MISSING = "host-missing"
    HOST_REPEATED = "host-repeated"
    HOST_MALFORMED = "host-malformed"
    HOST_UNDECLARED = "host-undeclared"
    HEADER_REPEATED = "header-repeated"
    HEADER_MALFORMED = "header-malformed"
    CONNECTION_NAMES_PROTECTED = "connection-names-protected"
    EXPECTATION_UNSUPPORTED = "expectation-unsupported"
    REQUEST_TOO_LARGE = "request-too-large"
    REQUEST_MALFORMED = "request-malformed"
    TRANSFER_CODING_UNSUPPORTED = "transfer-coding-unsupported"
    REQUEST_TIMEOUT = "request-timeout"
    PROXY_HEADER_MALFORMED = "proxy-header-malformed"
    HEAD_TOO_LARGE = "head-too-large"
    VERSION_UNSUPPORTED = "version-unsupported"
    UPGRADE_UNSUPPORTED = "upgrade-unsupported"
    # Who asks.
    TOKEN_MISSING = "token-missing"  # noqa: S105 - a reason, no secret
    AUTHORIZATION_REPEATED = "authorization-repeated"
    AUTHORIZATION_MALFORMED = "authorization-malformed"
    AUTHORIZATION_FOR_TWO = "authorization-for-two"
    AUTHORIZATION_AMBIGUOUS = "authorization-ambiguous"
    AUTHORIZATION_COOKIE_REPEATED = "authorization-cookie-repeated"
    TOKEN_MALFORMED = "token-malformed"  # noqa: S105
    TOKEN_ENCRYPTED = "token-encrypted"  # noqa: S105
    TOKEN_HEADER_UNSUPPORTED = "token-header-unsupported"  # noqa: S105
    TOKEN_ISSUER_UNDECLARED = "token-issuer-undeclared"  # noqa: S105
    TOKEN_MISPLACED = "token-misplaced"  # noqa: S105
    TOKEN_TYPE_OTHER = "token-type-other"  # noqa: S105
    TOKEN_ALGORITHM_UNDECLARED = "token-algorithm-undeclared"  # noqa: S105
    TOKEN_KEY_UNKNOWN = "token-key-unknown"  # noqa: S105
    TOKEN_SIGNATURE_WRONG = "token-signature-wrong"  # noqa: S105
    TOKEN_DELEGATION_MALFORMED = "token-delegation-malformed"  # noqa: S105
    TOKEN_CLAIM_MISSING = "token-claim-missing"  # noqa: S105
    TOKEN_AUDIENCE_OTHER = "token-audience-other"  # noqa: S105
    TOKEN_EXPIRED = "token-expired"  # noqa: S105
    TOKEN_NOT_YET_VALID = "token-not-yet-valid"  # noqa: S105
    TOKEN_LIFETIME_TOO_LONG = "token-lifetime-too-long"  # noqa: S105
    TOKEN_UNBOUND = "token-unbound"  # noqa: S105
    TOKEN_CONFIRMATION_UNSUPPORTED = "token-confirmation-unsupported"  # noqa: S105
    TOKEN_CERTIFICATE_MISSING = "token-certificate-missing"  # noqa: S105
    TOKEN_CERTIFICATE_OTHER = "token-certificate-other"  # noqa: S105
    TOKEN_REVOKED = "token-revoked"  # noqa: S105
    TOKEN_INTROSPECTED_OTHERWISE = "token-introspected-otherwise"  # noqa: S105
    KEYS_UNAVAILABLE = "keys-unavailable"
    INTROSPECTION_UNAVAILABLE = "introspection-unavailable"
    FORWARDED_CERTIFICATE_REPEATED = "forwarded-certificate-repeated"
    FORWARDED_CERTIFICATE_MALFORMED = "forwarded-certificate-malformed"
    FORWARDED_CERTIFICATE_MISSING = "forwarded-certificate-missing"
    CERTIFICATE_MALFORMED = "certificate-malformed"
    CERTIFICATE_WEAK = "certificate-weak"
    CERTIFICATE_USAGE_OTHER = "certificate-usage-other"
    CERTIFICATE_AUTHORITY_UNDECLARED = "certificate-authority-undeclared"
    CERTIFICATE_AUTHORITY_EXPIRED = "certificate-authority-expired"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    CERTIFICATE_REVOKED = "certificate-revoked"
    CERTIFICATE_REVOCATION_UNKNOWN = "certificate-revocation-unknown"
    CERTIFICATE_NAME_MISSING = "certificate-name-missing"
    CERTIFICATE_NAME_REPEATED = "certificate-name-repeated"
    CERTIFICATE_NAME_MALFORMED = "certificate-name-malformed"
    CERTIFICATE_NAME_FOREIGN = "certificate-name-foreign"
    # What is declared.
    ROUTE_UNDECLARED = "route-undeclared"
    METHOD_UNDECLARED = "method-undeclared"
    # Whose data.
    QUERY_MALFORMED = "query-malformed"
    QUERY_UNDECLARED = "query-undeclared"
    CURSOR_INVALID = "cursor-invalid"
    BODY_UNDECLARED = "body-undeclared"
    BODY_MISSING = "body-missing"
    BODY_TYPE_UNSUPPORTED = "body-type-unsupported"
    BODY_CODING_UNSUPPORTED = "body-coding-unsupported"
    BODY_MALFORMED = "body-malformed"
    SUBJECT_MISSING = "subject-missing"
    SUBJECT_MALFORMED = "subject-malformed"
    SUBJECTS_EXCEEDED = "subjects-exceeded"
    SUBJECTS_APART = "subjects-apart"
    LOOKUP_UNAVAILABLE = "lookup-unavailable"
    # May they.
    RULE_ALLOWS = "rule-allows"
    INVARIANT_DENIES = "invariant-denies"
    RULE_DENIES = "rule-denies"
    NO_RULE_ALLOWS = "no-rule-allows"
    TRANSFORMS_NOT_APPLIED = "transforms-not-applied"
    SUBJECT_NOT_CONFIRMED = "subject-not-confirmed"
    SUBJECT_UNRESOLVED = "subject-unresolved"
    # What may leave: an answer that is looked into is not what its route declares.
    ANSWER_STATUS_UNDECLARED = "answer-status-undeclared"
    ANSWER_TYPE_UNDECLARED = "answer-type-undeclared"
    ANSWER_CHARSET_UNSUPPORTED = "answer-charset-unsupported"
    ANSWER_CODING_UNSUPPORTED = "answer-coding-unsupported"
    ANSWER_CODING_BROKEN = "answer-coding-broken"
    ANSWER_EXPANDS_TOO_MUCH = "answer-expands-too-much"
    ANSWER_EMPTY = "answer-empty"
    ANSWER_MALFORMED = "answer-malformed"
    ANSWER_INCOMPLETE = "answer-incomplete"
    ANSWER_TOO_DEEP = "answer-too-deep"
    ANSWER_NUMBER_TOO_LONG = "answer-number-too-long"
    ANSWER_KEY_REPEATED = "answer-key-repeated"
    ANSWER_RECORD_TOO_LARGE = "answer-record-too-large"
    ANSWER_TOO_LARGE = "answer-too-large"
    ANSWER_SHAPE_UNDECLARED = "answer-shape-undeclared"
    ANSWER_MEMBER_UNDECLARED = "answer-member-undeclared"
    ANSWER_COUNTRY_MALFORMED = "answer-country-malformed"
    # Too much at once.
    CONNECTIONS_EXCEEDED = "connections-exceeded"
    REQUESTS_EXCEEDED = "requests-exceeded"
    OVERLOADED = "overloaded"
    # Could not.
    COUNTS_UNAVAILABLE = "counts-unavailable"
    DECISION_FAILED = "decision-failed"
    LEDGER_UNAVAILABLE = "ledger-unavailable"
    UPSTREAM_UNREACHABLE = "upstream-unreachable"
    UPSTREAM_BUSY = "upstream-busy"
    UPSTREAM_TIMEOUT = "upstream-timeout"
    UPSTREAM_BROKEN = "upstream-broken"
    UPSTREAM_ANSWER_UNSUPPORTED = "upstream-answer-unsupported"
    POLICY_CHANGED = "policy-changed"
    CLIENT_GONE = "client-gone"
    CLIENT_SLOW = "client-slow"
    GATEWAY_STOPPING = "gateway-stopping"


class AppliedRule(msgspec.Struct, frozen=True):
    """A rule that applied to a request."""

    id: str
    effect: Effect
    certainty: Certainty
    title: str
    unknown: tuple[str, ...] = ()
    """Attributes it asked for that are unknown."""


class Lifted(msgspec.Struct, frozen=True):
    """A rule that would have applied, and the grant that lifted it."""

    rule: str
    grant: str


class Shadow(msgspec.Struct, frozen=True):
    """What rules in shadow mode would have done, had they been enforced."""

    applied: tuple[AppliedRule, ...]
    would: Effect
    """What the decision would have been with them."""
    changes: bool
    """Whether that is another effect, or other transforms."""


NO_TRANSFORMS: Mapping[str, Transform] = {}


class Decision(msgspec.Struct, frozen=True):
    """The answer to "may they?".

    The determining rule is the first by: invariant before deny before default, matched before unknown, severity, id.
    """

    effect: Effect
    reason: Reason
    rule: AppliedRule | None
    """The determining rule; None where no rule allows."""
    applied: tuple[AppliedRule, ...]
    """What applied: of a denial the denying rules, of an allowance the allowing and the masking ones; at most
    ``policy.evaluate.MAX_LISTED`` of them, the determining one first."""
    unknown: tuple[str, ...]
    """Unknown attributes that had a part in it: of the rules listed that applied by unknown, and of allow rules
    that would have needed them."""
    transforms: Mapping[str, Transform] = NO_TRANSFORMS
    """Data category to what is done to fields of it, and below it, before they leave. Empty for a denial."""
    unlisted: int = 0
    """How many more rules applied than are listed."""
    lifted: tuple[Lifted, ...] = ()
    """Rules that a grant lifted."""
    until: float = float("inf")
    """Seconds since 1970 when the first of those grants ends."""
    shadow: Shadow | None = None
    """None where no shadow rule applied."""

    @property
    def rule_id(self) -> str:
        """The determining rule's id, or ``default`` where no rule allows."""
        return self.rule.id if self.rule else "default"
