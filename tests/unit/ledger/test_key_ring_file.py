# SPDX-License-Identifier: Apache-2.0
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.errors import UsageError
from proxy.ledger.key_ring_file import MAX_BYTES, make_key_file, read_key_ring, read_key_text
from proxy.ledger.pseudonym import KeyRingError


def test_what_was_made_is_read(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    made = make_key_file(path, "2026-11", 3)
    assert made.periods == ("2026-11", "2026-12", "2027-01")
    assert read_key_ring(path).render() == made.render() == read_key_text(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_two_keys_that_are_made_agree(tmp_path: Path) -> None:
    texts = [make_key_file(tmp_path / name, "2026-11").render() for name in "ab"]
    keys = re.findall(r"\b[0-9a-f]{64}$", "".join(texts), re.MULTILINE)
    assert len(keys) == len(set(keys)) == 2 * (24 + 1)


def test_so_many_months_make_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyRingError):
        make_key_file(tmp_path / "keys", "2026-11", 0)
    assert not list(tmp_path.iterdir())


def test_a_file_is_never_made_over_another(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("old", encoding="ascii")
    with pytest.raises(UsageError, match="exists"):
        make_key_file(tmp_path / "keys", "2026-11")
    assert (tmp_path / "keys").read_text(encoding="ascii") == "old"


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda _: None, "cannot be read: No such file or directory"),
    "a folder": (lambda path: path.mkdir(), "cannot be read: it is a folder"),
    "bytes that are no text": (lambda path: path.write_bytes(b"subjects \xff"), "is not ASCII text"),
    "a file without end": (lambda path: path.write_bytes(b"#" * (MAX_BYTES + 1)), "more than 1048576 bytes"),
    "nothing in it": (lambda path: path.touch(), "is none: it is empty"),
    "one key of an earlier release": (
        lambda path: path.write_text("ab" * 32),
        "cannot be used: line 1: it is one bare key",
    ),
}


@pytest.mark.parametrize(("make", "told"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_no_ring_names_the_file_and_the_mend(tmp_path: Path, make: Callable[[Path], object], told: str) -> None:
    path = tmp_path / "keys"
    make(path)
    if path.is_file():
        path.chmod(0o600)
    with pytest.raises(UsageError, match=told) as caught:
        read_key_ring(path)
    assert str(path) in str(caught.value)
    assert "ab" * 8 not in str(caught.value)


def test_no_file_at_all_says_how_to_make_one() -> None:
    with pytest.raises(UsageError, match="sekisho keygen FILE"):
        read_key_ring(None)
