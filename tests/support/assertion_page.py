# SPDX-License-Identifier: Apache-2.0
"""The code that docs/assertion.md gives to the developers of APIs, as it stands there."""

import re
from pathlib import Path
from typing import Any, Final

import jwt

PAGE: Final = (Path(__file__).parents[2] / "docs" / "assertion.md").read_text(encoding="utf-8")


def code_of(language: str) -> str:
    """Return the only block of a language."""
    (block,) = re.findall(rf"(?ms)^```{language}$\n(.*?)^```$", PAGE)
    assert block.count("\n") <= 25, "it is short enough to be read"
    return str(block)


class Verifier:
    """What a developer has who has pasted the Python code.

    Args:
        keys: where the public keys are served, or what has them.
    """

    def __init__(self, keys: Any) -> None:
        names: dict[str, Any] = {}
        exec(code_of("python"), names)  # noqa: S102 - that is what is tested
        names["KEYS"] = jwt.PyJWKClient(keys) if isinstance(keys, str) else keys
        self._names = names

    def check(self, token: str, api: str = "users") -> dict[str, Any]:
        """Return the claims; jwt.PyJWTError if the assertion is not to be believed."""
        claims: dict[str, Any] = self._names["check_assertion"](token, api)
        return claims

    def check_request(self, token: str, method: str, target: bytes, api: str = "users") -> dict[str, Any]:
        """The same, bound to a request."""
        claims: dict[str, Any] = self._names["check_request"](token, api, method, target)
        return claims
