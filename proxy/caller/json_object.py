# SPDX-License-Identifier: Apache-2.0
"""JSON objects that other parties wrote, read in the one way that every reader agrees on (RFC 8725 2.4, RFC 7493).

Repeated names, NaN, infinities, other encodings than UTF-8 and half surrogates are refused, never resolved.
"""

import json
import math
from typing import Any


def read_object(data: bytes) -> dict[str, Any] | None:
    """Read a JSON object; None if the bytes are none that reads the same for everybody."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unrepeated, parse_constant=_refuse_constant, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate is no text
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse repeated names, which readers resolve differently (RFC 7519 4)."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
