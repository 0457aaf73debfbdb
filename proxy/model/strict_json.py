# SPDX-License-Identifier: Apache-2.0
"""JSON that other parties wrote, read in the one way that every reader agrees on (RFC 8725 2.4, RFC 7493).

Repeated names, NaN, infinities, other encodings than UTF-8 and half surrogates are refused, never resolved.
"""

import json
import math
from typing import Any


def read_json(data: bytes) -> Any:
    """Return the value of a document; ValueError if the bytes are none that reads the same for everybody."""
    text = data.decode("utf-8")
    try:
        value = json.loads(text, object_pairs_hook=_unrepeated, parse_constant=_refuse_constant, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate is no text
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    return value


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
