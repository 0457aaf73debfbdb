# SPDX-License-Identifier: Apache-2.0
"""A query as Python's own reader has it, for what ours accepts."""

from urllib.parse import parse_qsl  # noqa: TID251 - what ours is held against


def read_query(text: str) -> list[tuple[str, str]] | None:
    """Return names and values; None where they are not UTF-8."""
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        return None
