# SPDX-License-Identifier: Apache-2.0
"""The ledgers of workers: each in a folder of its own, signed by one key under a name of its own.

::

    DIR/worker-1/          signed as NAME/worker-1, where the key is called NAME
    DIR/worker-2/          signed as NAME/worker-2

One tree has one writer, and two trees under one name would be a split view. Whoever believes the key NAME believes
what it signs under these names, and need not know how many workers there were.
"""

import re
from typing import Final

_PART: Final = re.compile(r"worker-([1-9][0-9]{0,3})")


def part_name(number: int) -> str:
    """Return the name of the folder in which the worker of that number writes a ledger of its own."""
    return f"worker-{number}"


def part_number(name: str) -> int | None:
    """Return the number of the worker whose ledger is called so; None if no worker's is."""
    match = _PART.fullmatch(name)
    return int(match[1]) if match else None


def join_name(name: str, part: str) -> str:
    """Return under which name a part is signed by a key of that name."""
    return f"{name}/{part}"


def split_name(signed: str) -> tuple[str, str] | None:
    """Return the name of the key and the part that it signs for; None for a name that is no part's."""
    name, slash, part = signed.rpartition("/")
    return (name, part) if slash and name and part_number(part) is not None else None
