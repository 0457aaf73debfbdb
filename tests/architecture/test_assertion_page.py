# SPDX-License-Identifier: Apache-2.0
"""What docs/assertion.md says is so: its Python code believes the gateway and nobody else, its table is whole."""

import hashlib
import json
import re
from typing import Any

import jwt
import msgspec
import pytest
from jwt.utils import base64url_decode

from proxy.assertion.assertions import Assertions
from proxy.assertion.keys import ALGORITHMS, AssertionKey, AssertionKeys, encode_base64url
from proxy.clock import unix_seconds
from proxy.model.api import AssertionMode
from tests.support.assertion_page import PAGE, Verifier
from tests.support.assertions import API, JUDGED, TARGET, judged


class Published:
    """Public keys, held as ``PyJWKClient`` holds them."""

    def __init__(self, keys: AssertionKeys) -> None:
        self._set = jwt.PyJWKSet.from_dict(json.loads(keys.publish()))

    def get_signing_key_from_jwt(self, token: str) -> jwt.PyJWK:
        try:
            return self._set[jwt.get_unverified_header(token)["kid"]]
        except KeyError:
            raise jwt.PyJWKClientError("no such key") from None


KEY = AssertionKey.generate(1.0, "EdDSA")
VERIFIER = Verifier(Published(AssertionKeys([KEY])))


def sign(key: AssertionKey = KEY, mode: AssertionMode = AssertionMode.REQUEST, **changes: Any) -> str:
    now = changes.pop("now", unix_seconds())
    told = judged({"until": now + 900}, now=now, **changes)
    assertions = Assertions(AssertionKeys([key]), "sekisho", "b" * 64)
    line = assertions.render_field(msgspec.structs.replace(API, assertion=mode), told)
    return line.decode().partition(": ")[2].strip()


def forge(header: dict[str, Any] | None = None, **claims: Any) -> str:
    """Return a token that the gateway's key has signed, with another header or other claims; None leaves one out."""
    head, body = (json.loads(base64url_decode(part)) for part in sign().split(".")[:2])
    told, said = {**head, **(header or {})}, {**body, **claims}
    parts = ({name: value for name, value in each.items() if value is not None} for each in (told, said))
    content = b".".join(encode_base64url(json.dumps(part).encode()) for part in parts)
    return (content + b"." + encode_base64url(KEY.sign(content))).decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("mode", [AssertionMode.CALLER, AssertionMode.REQUEST])
def test_the_python_code_believes_the_gateway(algorithm: str, mode: AssertionMode) -> None:
    key = AssertionKey.generate(1.0, algorithm)
    verifier = Verifier(Published(AssertionKeys([key])))
    assert verifier.check(sign(key, mode))["sub"] == "corp|alice"
    if mode is AssertionMode.REQUEST:
        assert verifier.check_request(sign(key), "GET", TARGET.encode())["decision"] == JUDGED.request_id


WRONG: dict[str, Any] = {
    "another key": lambda: sign(AssertionKey.generate(1.0, "EdDSA")),
    "another algorithm's key": lambda: sign(AssertionKey.generate(1.0, "ES256")),
    "another issuer": lambda: forge(iss="somebody"),
    "another API": lambda: forge(aud="talks"),
    "long ago": lambda: sign(now=unix_seconds() - 120),
    "in the future": lambda: sign(now=unix_seconds() + 120),
    "another kind of token": lambda: forge({"typ": "at+jwt"}),
    "no kind at all": lambda: forge({"typ": None}),
    "no algorithm": lambda: forge({"alg": "none"}),
    "an algorithm with a shared key": lambda: forge({"alg": "HS256"}),
    "no signature": lambda: sign().rpartition(".")[0] + ".",
    "no end": lambda: forge(exp=None),
    "no time": lambda: forge(iat=None),
    "no name": lambda: forge(jti=None),
    "no audience": lambda: forge(aud=None),
    "no verdict": lambda: forge(effect=None),
    "no token": lambda: "x",
    "nothing": lambda: "",
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG.keys())
def test_the_python_code_believes_nothing_else(make: Any) -> None:
    with pytest.raises(jwt.PyJWTError):
        VERIFIER.check(make())


def test_what_was_forged_here_would_be_believed_if_it_were_right() -> None:
    assert VERIFIER.check(forge())["effect"] == "allow"


@pytest.mark.parametrize(
    ("method", "target"),
    [("PUT", TARGET), ("GET", "/v1/jp/users/43?full=1"), ("GET", "/v1/jp/users/42"), ("GET", "")],
    ids=["another method", "another person", "no query", "nothing"],
)
def test_the_python_code_refuses_what_was_signed_for_another_request(method: str, target: str) -> None:
    with pytest.raises(jwt.InvalidTokenError, match="for another request"):
        VERIFIER.check_request(sign(), method, target.encode())
    with pytest.raises(jwt.InvalidTokenError, match="for another request"):
        VERIFIER.check_request(sign(mode=AssertionMode.CALLER), "GET", TARGET.encode())
    assert hashlib.sha256(TARGET.encode()).hexdigest() == VERIFIER.check(sign())["target_sha256"]


def test_the_table_of_claims_is_what_is_said() -> None:
    claims = VERIFIER.check(sign(now=unix_seconds())).keys() | {"on_behalf_of"}
    table = PAGE.partition("| claim | says |\n")[2].partition("\n\n")[0]
    told = {name for row in table.splitlines()[1:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert told == claims


def test_the_code_is_twenty_lines() -> None:
    for language in ("python", "js"):
        (block,) = re.findall(rf"(?ms)^```{language}$\n(.*?)^```$", PAGE)
        assert len([line for line in block.splitlines() if line.strip()]) <= 20
