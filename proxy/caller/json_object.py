# SPDX-License-Identifier: Apache-2.0
"""JSON objects that other parties wrote, read in the one way that every reader agrees on."""

from typing import Any

from proxy.model.strict_json import read_json


def read_object(data: bytes) -> dict[str, Any] | None:
    """Read a JSON object; None if the bytes are none that reads the same for everybody."""
    try:
        value = read_json(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
