# SPDX-License-Identifier: Apache-2.0
"""Two identity providers with real keys, one gateway that trusts them, and tokens built byte by byte."""

import functools
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final

from jwt.algorithms import get_default_algorithms

from proxy.caller.issuers import ALGORITHMS, Issuer, IssuerEntry, compile_issuer
from proxy.caller.keys import KeySet, parse_key_set
from proxy.demo.issuer import Issuer as IdentityProvider

NOW: Final = 1_800_000_000.0
CORP: Final = "https://idp.corp.example"
PARTNER: Final = "https://idp.partner.example"
ANY_ALGORITHM: Final = frozenset(ALGORITHMS)
CORP_ALGORITHMS: Final = ("RS256", "RS384", "ES256", "EdDSA")


def a_provider(iss: str = CORP, algorithm: str = "ES256", key_id: str = "") -> IdentityProvider:
    """Return the one provider of that kind in this process: RSA keys are slow to make."""
    return _make_provider(iss, algorithm, key_id or f"key-{algorithm}")


_make_provider = functools.cache(IdentityProvider)


def an_issuer(**changes: Any) -> Issuer:
    return compile_issuer(IssuerEntry.model_validate(an_issuer_entry(**changes)))


def an_issuer_entry(**changes: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": "corp",
        "operated_by": "ly",
        "issuer": CORP,
        "audience": ["pii-gateway"],
        "jwks": "file:corp.jwks.json",
        "algorithms": list(CORP_ALGORITHMS),
        "may_assert": {"affiliate": "any"},
        "attributes": {
            "affiliate": "affiliate",
            "kind": "employment_type",
            "residence": "residence_country",
            "site_country": "site",
            "groups": {"claim": "groups", "absent": "empty"},
        },
    }
    return {name: value for name, value in (entry | changes).items() if value is not None}


def a_partner(**changes: Any) -> Issuer:
    own = {"id": "partner", "issuer": PARTNER, "algorithms": ["ES256"], "may_assert": {"affiliate": ["partner"]}}
    return an_issuer(**{**own, **changes})


def jwk(provider: IdentityProvider, **changes: Any) -> dict[str, Any]:
    """Return the provider's public key as published; a member given as None is left out."""
    members = provider.key_set()["keys"][0] | changes
    return {name: value for name, value in members.items() if value is not None}


def key_set(*keys: Any, algorithms: frozenset[str] = ANY_ALGORITHM) -> KeySet:
    return parse_key_set(json.dumps({"keys": keys}).encode(), algorithms)


@functools.cache
def corp_keys() -> KeySet:
    keys = [jwk(a_provider(algorithm=algorithm)) for algorithm in ("RS256", "ES256", "EdDSA")]
    return key_set(*keys, algorithms=frozenset(CORP_ALGORITHMS))


@functools.cache
def partner_keys() -> KeySet:
    """Return keys of the partner, one of them with the id of a key of corp's."""
    own = a_provider(PARTNER), a_provider(PARTNER, key_id="partner-only")
    return key_set(*map(jwk, own), algorithms=frozenset({"ES256"}))


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Return claims that pass; one given as None is left out."""
    standard = {"iss": CORP, "aud": "pii-gateway", "sub": "alice", "iat": int(NOW) - 60, "exp": int(NOW) + 600}
    return {name: value for name, value in (standard | changes).items() if value is not None}


def header(algorithm: str = "ES256", **changes: Any) -> dict[str, Any]:
    return {"alg": algorithm, "kid": f"key-{algorithm}", "typ": "JWT"} | changes


def seal(
    header_: Mapping[str, Any] | bytes, claims_: Mapping[str, Any] | bytes, provider: IdentityProvider | None = None
) -> str:
    """Sign a header and claims, of any bytes, with the provider's own key and algorithm."""
    provider = provider or a_provider()
    head, body = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header_, claims_))
    signing_input = f"{base64url(head)}.{base64url(body)}"
    signature = get_default_algorithms()[provider.algorithm].sign(signing_input.encode(), provider.key)
    return f"{signing_input}.{base64url(signature)}"


def a_token(**changes: Any) -> str:
    return seal(header(), claims(**changes))


class HeldSets(dict[str, KeySet]):
    """Key sets that a test holds: whatever changes them puts others in their place, as the store does.

    Args:
        holder: has them as ``sets``.
        sets: by issuer id.
    """

    def __init__(self, holder: Any, sets: Mapping[str, KeySet]) -> None:
        super().__init__(sets)
        self._holder = holder

    def _put(self, sets: Mapping[str, KeySet]) -> None:
        self._holder.sets = HeldSets(self._holder, sets)

    def __setitem__(self, issuer_id: str, key_set: KeySet) -> None:
        self._put({**self, issuer_id: key_set})

    def __delitem__(self, issuer_id: str) -> None:
        self._put({id_: key_set for id_, key_set in self.items() if id_ != issuer_id})

    def clear(self) -> None:
        self._put({})

    def pop(self, issuer_id: str, *_default: Any) -> Any:
        del self[issuer_id]
        return self[issuer_id]
