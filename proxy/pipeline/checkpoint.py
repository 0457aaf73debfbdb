# SPDX-License-Identifier: Apache-2.0
"""What all passages under one snapshot share, and what they ask of it: who calls, and what the facts are."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

import msgspec

from proxy.assertion.assertions import Assertions
from proxy.bundle.snapshot import Snapshot
from proxy.caller.certificates import Authorities, CertificateIdentity
from proxy.caller.resolve import NOTHING_MET, CallerNeed, Callers, Shown
from proxy.caller.tokens import read_credentials
from proxy.caller.xfcc import read_forwarded_certificate
from proxy.ledger.record import Recorder
from proxy.model.api import READING, Api, Route
from proxy.model.caller import UNAUTHENTICATED, Caller
from proxy.model.counts import UNAVAILABLE, Asked, Counted, CountsNeeded
from proxy.model.decision import Reason
from proxy.model.facts import ABSENT
from proxy.model.origin import ClientAddress, Origin
from proxy.model.ports import Directory, Geolocator, Introspections, KeySets, Volume
from proxy.model.request import Headers, RequestHead
from proxy.model.subject import Subject
from proxy.origin.resolve import Origins
from proxy.pipeline.approach import Approach, Approaches
from proxy.pipeline.whose import NO_DIRECTORY, is_plain
from proxy.policy.attributes import Facts
from proxy.policy.counted import find_counted
from proxy.policy.evaluate import claim_purpose
from proxy.redaction.accepting import fit_request
from proxy.redaction.options import RedactionOptions
from proxy.request.catalog import Match, NoMatch
from proxy.request.cursors import Seal
from proxy.request.headers import RequestFields, make_table, parse_host, read_request_fields, render_fields

FORWARDED: Final = "xfcc"
"""The setting by which certificates come from ``X-Forwarded-Client-Cert`` of a trusted proxy."""

_ADDRESS_FIELDS: Final = {
    place: "" if place in {ClientAddress.PEER, ClientAddress.PROXY_PROTOCOL} else place.value for place in ClientAddress
}
"""The field that tells the client's address, by where it is told."""


class NobodyCounts:
    """Stands where nobody counts: how much was read is then not known."""

    def count(self, needed: CountsNeeded) -> Counted:  # noqa: ARG002 - the port's
        """Say that nobody can tell."""
        return UNAVAILABLE

    def settle(self, needed: CountsNeeded, counted: Counted, *, is_allowed: bool) -> None:
        """Take note of nothing."""


NOBODY_COUNTS: Final = NobodyCounts()
INSPECT_AS_USUAL: Final = RedactionOptions()


class Checkpoint:
    """What all passages under one snapshot share.

    Args:
        snapshot: the bundle in force.
        keys: the issuers' key sets.
        geolocator: asked for public addresses.
        recorder: makes ledger lines.
        introspections: what issuers said of tokens.
        client_certificate: where a caller's certificate is taken from: ``tls``, the connection, or ``xfcc``.
        client_address: where trusted proxies say whose request they pass on.
        volume: counts what callers read.
        assertions: tells APIs, signed, what was decided.
        directory: tells the countries of data subjects.
        inspect: how much of an answer that is looked into is held, and taken.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        keys: KeySets,
        geolocator: Geolocator,
        recorder: Recorder,
        *,
        introspections: Introspections | None = None,
        client_certificate: str = "tls",
        client_address: ClientAddress = ClientAddress.X_FORWARDED_FOR,
        volume: Volume = NOBODY_COUNTS,
        assertions: Assertions | None = None,
        directory: Directory = NO_DIRECTORY,
        inspect: RedactionOptions = INSPECT_AS_USUAL,
    ) -> None:
        self.snapshot = snapshot
        self.keys = keys
        self.recorder = recorder
        self.assertions = assertions
        self.fields = make_table((issuer.place for issuer in snapshot.issuers), _ADDRESS_FIELDS[client_address])
        self.callers = Callers(snapshot.issuers, snapshot.registers, snapshot.revoked, introspections)
        self.authorities = Authorities(snapshot.authorities)
        self.origins = Origins(snapshot.networks, snapshot.proxies, geolocator, client_address)
        self.volume = volume
        self.counted = find_counted(snapshot.policy, snapshot.every_resource)
        """What is counted, by API: only where some rule asks for it."""
        self.counted_in_answers = _find_counted_in_answers(snapshot.catalog.routes, self.counted)
        self.fronts = {
            place.url: f"Host: {place.authority}\r\n" for api in snapshot.catalog.apis for place in api.places
        }
        """The field lines that begin what goes to an API that declares no host, by its upstream."""
        self.seal = Seal(recorder.cursor_key)
        """Seals the cursors of APIs."""
        self.directory = directory
        self.inspect = inspect
        self.elsewhere = frozenset(each.id for each in snapshot.catalog.routes if not is_plain(each.subject))
        """Routes of which neither the path nor the route itself says at once whose data they carry."""
        self._approaches = Approaches()
        self._has_grants = bool(snapshot.policy.grants)
        self._is_forwarded = client_certificate == FORWARDED
        self._reads_forwarded = client_address is not ClientAddress.PROXY_PROTOCOL
        """Whether trusted proxies read what their clients write: those that speak the PROXY protocol pass it on."""

    def find_approach(self, head: RequestHead) -> Approach | Reason:
        """Return what a head's fields and its connection come to, or the reason to refuse the fields.

        It is worked out once for the same fields on the same kind of connection: from these, the table of fields, the
        APIs' hosts and the trusted proxies, which never change in here.
        """
        return self._approaches.find(head) or self._approach(head)

    def _approach(self, head: RequestHead) -> Approach | Reason:
        fields = read_request_fields(head.headers, self.fields)
        if isinstance(fields, Reason):
            return fields
        parsed = parse_host(fields.host)
        host = "" if isinstance(parsed, Reason) else parsed
        api = parsed if isinstance(parsed, Reason) else self.snapshot.catalog.find_api(host) or Reason.HOST_UNDECLARED
        approach = Approach(
            headers=head.headers,
            peer_ip=head.peer_ip,
            proxied=head.proxied,
            certificate=head.certificate,
            fields=fields,
            chain=(head.peer_ip, *(fields.client_address or head.proxied)),
            shown=self.find_shown(head.peer_ip, head.certificate, fields),
            credentials=read_credentials(fields.authorization, fields.carried),
            host=host,
            api=api,
            front="" if isinstance(api, Reason) or not api.hosts else f"Host: {host}\r\nX-Forwarded-Host: {host}\r\n",
            rest=b"" if isinstance(api, Reason) else _render_rest(api, fields, fields.forwardable),
        )
        self._approaches.keep(approach)
        return approach

    def find_shown(self, peer_ip: str, certificate: bytes | None, fields: RequestFields) -> bytes | Reason | None:
        """Return the certificate that a request came with, the reason why that is ambiguous, or None.

        Args:
            peer_ip: the address at the other end of the connection.
            certificate: what it showed there.
            fields: of the request; a proxy that is not trusted says nothing.
        """
        if not self._is_forwarded:
            return certificate
        value = fields.forwarded_certificate
        if value is None or not self._reads_forwarded or not self.origins.trusts(peer_ip):
            return None
        return read_forwarded_certificate(value)

    def find_certificate(self, shown: bytes | None, now: float) -> CertificateIdentity | Reason | None:
        """Return whose the certificate is that a request came with, if any, or why it is nobody's."""
        return None if shown is None else self.authorities.identify(shown, now)

    def find_caller(
        self,
        match: Match | NoMatch,
        approach: Approach,
        shown: bytes | None,
        now: float,
        met: frozenset[CallerNeed] | None = NOTHING_MET,
    ) -> Caller | Reason | CallerNeed:
        """Return who asks, the reason why nobody can be told, or what must be asked first.

        A certificate that is nobody's is never taken for none, whatever else a request carries. Of a request under way
        (``met`` is None) nothing can be asked any more.
        """
        if isinstance(match, Match) and match.route.unauthenticated:
            return UNAUTHENTICATED
        found, behind = approach.credentials, approach.fields.behind
        if shown is None and behind is None and met is not None:  # what nearly every request shows, without detour
            return found if isinstance(found, Reason) else self.callers.resolve(found[1], self.keys, now, met, found[0])
        identity = self.find_certificate(shown, now)
        if isinstance(identity, Reason):
            return identity
        if isinstance(found, Reason) and (found is not Reason.TOKEN_MISSING or identity is None):
            return found
        token = None if isinstance(found, Reason) else found
        return self.callers.resolve_shown(Shown(token, identity, behind), self.keys, now, met)

    def find_facts(  # noqa: PLR0917 - called once a request, in this order
        self, match: Match, caller: Caller, origin: Origin, subject: Subject, fields: RequestFields, now: float
    ) -> Facts:
        """Return everything that one decision is made from."""
        route, snapshot = match.route, self.snapshot
        if self._has_grants and isinstance(subject.id, str):
            reference = self.recorder.name_subject(route.api.id, subject.id)
            subject = Subject(country=subject.country, id=subject.id, reference=reference, source=subject.source)
        case = ABSENT if fields.case is None else fields.case
        resource = snapshot.find_resource(route, route.api.find_upstream(subject.country))
        facts = Facts(caller, origin, subject, resource, ABSENT, case, now)
        if fields.purpose is None:
            return facts
        purpose = claim_purpose(snapshot.policy, facts, fields.purpose)
        return msgspec.structs.replace(facts, purpose=purpose)

    def refer(self, api: str) -> Callable[[str], str] | None:
        """Return what names the data subjects of an API as grants do; None where there is no grant."""
        return partial(self.recorder.name_subject, api) if self._has_grants else None

    def render_inspected(self, approach: Approach, api: Api, method: str) -> bytes:
        """Return a caller's own field lines as they go on to an API whose answer is looked into."""
        return _render_rest(api, approach.fields, fit_request(approach.fields.forwardable, method))


def _find_counted_in_answers(routes: Iterable[Route], counted: Mapping[str, tuple[Asked, ...]]) -> frozenset[str]:
    """Return the ids of routes whose answers have to be looked into, to count whom they show (``counting_answers``)."""
    return frozenset(
        route.id
        for route in routes
        if route.is_told_ids
        and route.action in READING
        and any(asked.tally.is_of_subjects for asked in counted.get(route.api.id, ()))
    )


def _render_rest(api: Api, fields: RequestFields, forwardable: Headers) -> bytes:
    """Return the caller's own field lines that go on to an API."""
    if not api.forwards_authorization or fields.authorization is None:
        return render_fields(forwardable)
    return render_fields((("Authorization", fields.authorization), *forwardable))
