# SPDX-License-Identifier: Apache-2.0
"""Keys of pseudonyms: one ring that tests know, and files of them."""

import secrets
from pathlib import Path
from typing import Final

from proxy.clock import unix_seconds
from proxy.ledger.pseudonym import KeyRing, Pseudonyms, SubjectNames, period_of

KEY: Final = b"k" * 32
"""Of every period that a test's clock is in."""
SUBJECTS_KEY: Final = b"s" * 32
RING: Final = KeyRing(SUBJECTS_KEY, {"2020-01": KEY})
NAMES: Final = Pseudonyms(KEY)
"""As records name people, under this ring."""
GRANTED: Final = SubjectNames(SUBJECTS_KEY)
"""As grants name data subjects, under this ring."""


def write_pseudonym_keys(path: Path, ring: KeyRing | None = None) -> Path:
    """Write a key ring, a new one from this month on unless told, and return where."""
    ring = ring or KeyRing.generate(period_of(unix_seconds()), 2, secrets.token_bytes)
    path.touch(mode=0o600)
    path.write_text(ring.render(), encoding="ascii")
    return path
