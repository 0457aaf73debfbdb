# SPDX-License-Identifier: Apache-2.0
"""The ladder of answers: what HTTP status each reason becomes, and what a caller is told.

400 before 401 before 404/405 before 403, then 502, 503, 504: nobody learns which routes exist before saying who
they are, and nobody unknown makes the API work.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from proxy.model.decision import Reason

BEARER_CHALLENGE: Final = 'Bearer realm="sekisho"'
_INVALID_TOKEN: Final = f'{BEARER_CHALLENGE}, error="invalid_token"'
_INVALID_REQUEST: Final = f'{BEARER_CHALLENGE}, error="invalid_request"'


class Answer(msgspec.Struct, frozen=True):
    """What a caller is answered for a reason."""

    status: int
    title: str
    challenge: str = ""
    """``WWW-Authenticate`` (RFC 6750 3)."""


def _bad(title: str) -> Answer:
    return Answer(400, title)


def _unfit(what: str) -> Answer:
    return Answer(502, f"The API's answer {what}")


def _unauthorised(title: str) -> Answer:
    return Answer(401, title, _INVALID_TOKEN)


def _unrecognised(title: str) -> Answer:
    """Answer a certificate that identifies nobody.

    No HTTP authentication scheme is a client certificate's; RFC 9110 15.5.2 still asks 401 to name one that would do,
    and RFC 6750 3.1 wants no error code where no token is at fault.
    """
    return Answer(401, title, BEARER_CHALLENGE)


ANSWERS: Final[Mapping[Reason, Answer]] = {
    Reason.METHOD_UNSUPPORTED: Answer(501, "The method is not supported"),
    Reason.TARGET_TOO_LONG: Answer(414, "The request target is too long"),
    Reason.TARGET_NOT_ORIGIN_FORM: _bad("The request target is not a path"),
    Reason.TARGET_HAS_FRAGMENT: _bad("The request target has a fragment"),
    Reason.TARGET_PERCENT_ENCODED: _bad("The path is percent-encoded"),
    Reason.TARGET_EMPTY_SEGMENT: _bad("The path has an empty segment"),
    Reason.TARGET_DOT_SEGMENT: _bad("The path has a dot segment"),
    Reason.TARGET_CHARACTER: _bad("The path has a character that does not belong there"),
    Reason.QUERY_CHARACTER: _bad("The query has a character that does not belong there"),
    Reason.HOST_MISSING: _bad("The Host field is missing"),
    Reason.HOST_REPEATED: _bad("The Host field is repeated"),
    Reason.HOST_MALFORMED: _bad("The Host field is malformed"),
    Reason.HOST_UNDECLARED: Answer(421, "This host is not served here"),
    Reason.HEADER_REPEATED: _bad("A header field that stands once is repeated"),
    Reason.HEADER_MALFORMED: _bad("A header field is malformed"),
    Reason.CONNECTION_NAMES_PROTECTED: _bad("The Connection field names a field it may not"),
    Reason.EXPECTATION_UNSUPPORTED: Answer(417, "The expectation is not supported"),
    Reason.REQUEST_TOO_LARGE: Answer(413, "The request body is too large"),
    Reason.REQUEST_MALFORMED: _bad("The request is malformed"),
    Reason.TRANSFER_CODING_UNSUPPORTED: Answer(501, "The transfer coding is not supported"),
    Reason.REQUEST_TIMEOUT: Answer(408, "The request did not arrive in time"),
    Reason.PROXY_HEADER_MALFORMED: _bad("The connection does not begin with a PROXY header"),
    Reason.HEAD_TOO_LARGE: Answer(431, "The request's header is too large"),
    Reason.VERSION_UNSUPPORTED: Answer(505, "The HTTP version is not supported"),
    Reason.UPGRADE_UNSUPPORTED: _bad("The connection cannot be upgraded here"),
    Reason.TOKEN_MISSING: Answer(401, "A bearer token is needed", BEARER_CHALLENGE),
    Reason.AUTHORIZATION_REPEATED: Answer(400, "The Authorization field is repeated", _INVALID_REQUEST),
    Reason.AUTHORIZATION_MALFORMED: Answer(400, "The Authorization field is malformed", _INVALID_REQUEST),
    Reason.AUTHORIZATION_FOR_TWO: Answer(400, "The request speaks for two people", _INVALID_REQUEST),
    Reason.AUTHORIZATION_AMBIGUOUS: Answer(400, "Credentials stand at more than one place", _INVALID_REQUEST),
    Reason.AUTHORIZATION_COOKIE_REPEATED: Answer(400, "The token's cookie is repeated", _INVALID_REQUEST),
    Reason.TOKEN_MALFORMED: _unauthorised("The token is malformed"),
    Reason.TOKEN_ENCRYPTED: _unauthorised("The token is encrypted"),
    Reason.TOKEN_HEADER_UNSUPPORTED: _unauthorised("The token's header is not supported"),
    Reason.TOKEN_ISSUER_UNDECLARED: _unauthorised("The token's issuer is not trusted here"),
    Reason.TOKEN_MISPLACED: _unauthorised("The token stands at another place than its issuer's do"),
    Reason.TOKEN_TYPE_OTHER: _unauthorised("The token is of another type"),
    Reason.TOKEN_ALGORITHM_UNDECLARED: _unauthorised("The token's algorithm is not trusted here"),
    Reason.TOKEN_KEY_UNKNOWN: _unauthorised("The token's key is not known"),
    Reason.TOKEN_SIGNATURE_WRONG: _unauthorised("The token's signature is wrong"),
    Reason.TOKEN_DELEGATION_MALFORMED: _unauthorised("The token does not say who acts"),
    Reason.TOKEN_CLAIM_MISSING: _unauthorised("The token lacks a claim"),
    Reason.TOKEN_AUDIENCE_OTHER: _unauthorised("The token is for another audience"),
    Reason.TOKEN_EXPIRED: _unauthorised("The token has expired"),
    Reason.TOKEN_NOT_YET_VALID: _unauthorised("The token is not yet valid"),
    Reason.TOKEN_LIFETIME_TOO_LONG: _unauthorised("The token is valid for too long"),
    Reason.TOKEN_UNBOUND: _unauthorised("The token is bound to no certificate"),
    Reason.TOKEN_CONFIRMATION_UNSUPPORTED: _unauthorised("The token is bound to what cannot be checked here"),
    Reason.TOKEN_CERTIFICATE_MISSING: _unauthorised("No certificate was shown to which the token is bound"),
    Reason.TOKEN_CERTIFICATE_OTHER: _unauthorised("The token is bound to another certificate"),
    Reason.TOKEN_REVOKED: _unauthorised("The token is revoked"),
    Reason.TOKEN_INTROSPECTED_OTHERWISE: _unauthorised("The token's issuer describes it otherwise"),
    Reason.KEYS_UNAVAILABLE: Answer(503, "The issuer's keys are not available"),
    Reason.INTROSPECTION_UNAVAILABLE: Answer(503, "The issuer does not say whether the token is active"),
    Reason.FORWARDED_CERTIFICATE_REPEATED: _bad("More than one certificate is forwarded"),
    Reason.FORWARDED_CERTIFICATE_MALFORMED: _bad("The forwarded certificate is malformed"),
    Reason.FORWARDED_CERTIFICATE_MISSING: _bad("The forwarded certificate itself is missing"),
    Reason.CERTIFICATE_MALFORMED: _unrecognised("The certificate is malformed"),
    Reason.CERTIFICATE_WEAK: _unrecognised("The certificate's key or signature is too weak"),
    Reason.CERTIFICATE_USAGE_OTHER: _unrecognised("The certificate is not one of a client"),
    Reason.CERTIFICATE_AUTHORITY_UNDECLARED: _unrecognised("The certificate's authority is not trusted here"),
    Reason.CERTIFICATE_AUTHORITY_EXPIRED: _unrecognised("The certificate's authority has expired"),
    Reason.CERTIFICATE_EXPIRED: _unrecognised("The certificate has expired"),
    Reason.CERTIFICATE_NOT_YET_VALID: _unrecognised("The certificate is not yet valid"),
    Reason.CERTIFICATE_REVOKED: _unrecognised("The certificate is revoked"),
    Reason.CERTIFICATE_REVOCATION_UNKNOWN: Answer(503, "Whether the certificate is revoked is not known"),
    Reason.CERTIFICATE_NAME_MISSING: _unrecognised("The certificate has no name to go by"),
    Reason.CERTIFICATE_NAME_REPEATED: _unrecognised("The certificate has several names to go by"),
    Reason.CERTIFICATE_NAME_MALFORMED: _unrecognised("The certificate's name is malformed"),
    Reason.CERTIFICATE_NAME_FOREIGN: _unrecognised("The certificate's name is of another domain"),
    Reason.ROUTE_UNDECLARED: Answer(404, "No such route"),
    Reason.METHOD_UNDECLARED: Answer(405, "No such method on this route"),
    Reason.QUERY_MALFORMED: _bad("The query is malformed"),
    Reason.QUERY_UNDECLARED: _bad("The query has a parameter that may not stand here"),
    Reason.CURSOR_INVALID: _bad("The cursor is not one that was given out to you here"),
    Reason.BODY_UNDECLARED: _bad("The request has a body that may not stand here"),
    Reason.BODY_MISSING: _bad("The request has no body"),
    Reason.BODY_TYPE_UNSUPPORTED: Answer(415, "The type of the request's body is not supported"),
    Reason.BODY_CODING_UNSUPPORTED: Answer(415, "The coding of the request's body is not supported"),
    Reason.BODY_MALFORMED: _bad("The request's body is malformed"),
    Reason.SUBJECT_MISSING: _bad("The request does not say whose data it is about"),
    Reason.SUBJECT_MALFORMED: _bad("The request does not say clearly whose data it is about"),
    Reason.SUBJECTS_EXCEEDED: _bad("The request is about too many people at once"),
    Reason.SUBJECTS_APART: _bad("The request is about people whose data are kept apart"),
    Reason.LOOKUP_UNAVAILABLE: Answer(503, "Whose data it is cannot be found out"),
    Reason.RULE_ALLOWS: Answer(200, "Allowed"),
    Reason.INVARIANT_DENIES: Answer(403, "Denied by policy"),
    Reason.RULE_DENIES: Answer(403, "Denied by policy"),
    Reason.NO_RULE_ALLOWS: Answer(403, "Denied by policy"),
    Reason.TRANSFORMS_NOT_APPLIED: Answer(403, "Denied by policy"),
    Reason.SUBJECT_NOT_CONFIRMED: Answer(403, "Denied by policy"),
    Reason.SUBJECT_UNRESOLVED: Answer(403, "Denied by policy"),
    Reason.ANSWER_STATUS_UNDECLARED: _unfit("has an undeclared status"),
    Reason.ANSWER_TYPE_UNDECLARED: _unfit("is of another type"),
    Reason.ANSWER_CHARSET_UNSUPPORTED: _unfit("is not in Unicode"),
    Reason.ANSWER_CODING_UNSUPPORTED: _unfit("has a content coding that is not supported"),
    Reason.ANSWER_CODING_BROKEN: _unfit("is not coded as it says"),
    Reason.ANSWER_EXPANDS_TOO_MUCH: _unfit("expands to too much"),
    Reason.ANSWER_EMPTY: _unfit("is empty"),
    Reason.ANSWER_MALFORMED: _unfit("is malformed"),
    Reason.ANSWER_INCOMPLETE: _unfit("is incomplete"),
    Reason.ANSWER_TOO_DEEP: _unfit("is nested too deep"),
    Reason.ANSWER_NUMBER_TOO_LONG: _unfit("has a number that is too long"),
    Reason.ANSWER_KEY_REPEATED: _unfit("repeats a name in an object"),
    Reason.ANSWER_RECORD_TOO_LARGE: _unfit("has a record that is too large"),
    Reason.ANSWER_TOO_LARGE: _unfit("is too large"),
    Reason.ANSWER_SHAPE_UNDECLARED: _unfit("has another shape than declared"),
    Reason.ANSWER_MEMBER_UNDECLARED: _unfit("has an undeclared member"),
    Reason.ANSWER_COUNTRY_MALFORMED: _unfit("writes a country otherwise"),
    Reason.CONNECTIONS_EXCEEDED: Answer(503, "Too many connections"),
    Reason.REQUESTS_EXCEEDED: Answer(429, "Too many requests at once"),
    Reason.OVERLOADED: Answer(503, "The gateway has too much to do"),
    Reason.COUNTS_UNAVAILABLE: Answer(503, "How much was read is not known"),
    Reason.DECISION_FAILED: Answer(503, "No decision could be made"),
    Reason.LEDGER_UNAVAILABLE: Answer(503, "The decision could not be recorded"),
    Reason.UPSTREAM_UNREACHABLE: Answer(502, "The API cannot be reached"),
    Reason.UPSTREAM_BUSY: Answer(503, "The API has too much to do"),
    Reason.UPSTREAM_TIMEOUT: Answer(504, "The API did not answer in time"),
    Reason.UPSTREAM_BROKEN: Answer(502, "The API's answer broke off"),
    Reason.UPSTREAM_ANSWER_UNSUPPORTED: Answer(502, "The API's answer is not supported"),
    Reason.POLICY_CHANGED: Answer(403, "Denied by policy"),
    Reason.CLIENT_GONE: Answer(499, "The caller left before an answer"),
    Reason.CLIENT_SLOW: Answer(408, "The caller did not take its answer in time"),
    Reason.GATEWAY_STOPPING: Answer(503, "The gateway is stopping"),
}
