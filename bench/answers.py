# SPDX-License-Identifier: Apache-2.0
"""What the API answers in every benchmark of the edge: a small record, 64 KiB, 1 MiB, a word on a note taken.

All is JSON without dollar sign or single quote, which nginx would read as its own.
"""

from __future__ import annotations

import json
from typing import Final

KIBIBYTE: Final = 1024

SMALL_BODY: Final = json.dumps(
    {
        "id": "417",
        "name": "Hanako Yamada",
        "email": "hanako.yamada@example.com",
        "phone": "+81-3-0000-0000",
        "address": {"country": "JP", "city": "Tokyo", "line": "1-1 Example"},
        "employment_type": "permanent",
    }
).encode()
"""Some 200 bytes."""
NOTED_BODY: Final = b'{"noted": true}'
ASSERTED_PATH: Final = "/v1/users/0"
"""Where the API answers with nothing but what the gateway has signed for it."""


def records_of(size: int) -> bytes:
    """Return a JSON list of records, filled up with spaces to so many bytes."""
    count = (size - 2) // (len(SMALL_BODY) + 1)
    return (b"[" + b",".join([SMALL_BODY] * count) + b"]").ljust(size)


HISTORY_BODY: Final = records_of(64 * KIBIBYTE)
ARCHIVE_BODY: Final = records_of(1024 * KIBIBYTE)
