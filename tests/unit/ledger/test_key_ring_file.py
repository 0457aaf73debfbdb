# SPDX-License-Identifier: Apache-2.0
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.errors import UsageError
from proxy.ledger.key_ring_file import MAX_BYTES, make_key_file, read_key_ring, read_key_text, replace_key_file
from proxy.ledger.pseudonym import KeyRing, KeyRingError
from tests.support.keys import RING


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
    "a folder": (lambda path: path.mkdir(), "cannot be read: Is a directory"),
    "bytes that are no text": (lambda path: path.write_bytes(b"subjects \xff"), "is not ASCII text"),
    "a file without end": (lambda path: path.write_bytes(b"#" * (MAX_BYTES + 1)), "more than a mebibyte"),
    "nothing in it": (lambda path: path.touch(), "cannot be used: it has no line `subjects KEY`"),
    "one key of an earlier release": (
        lambda path: path.write_text("ab" * 32),
        "cannot be used: line 1: it is one bare key",
    ),
}


@pytest.mark.parametrize(("make", "told"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_no_ring_names_the_file_and_the_mend(tmp_path: Path, make: Callable[[Path], object], told: str) -> None:
    path = tmp_path / "keys"
    make(path)
    with pytest.raises(UsageError, match=told) as caught:
        read_key_ring(path)
    assert str(path) in str(caught.value)
    assert "ab" * 8 not in str(caught.value)


def test_no_file_at_all_says_how_to_make_one() -> None:
    with pytest.raises(UsageError, match="sekisho keygen FILE"):
        read_key_ring(None)


@pytest.mark.parametrize("scrub", [False, True])
def test_a_file_is_replaced_with_its_mode_through_a_link(tmp_path: Path, *, scrub: bool) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "keys", tmp_path / "keys"
    real.write_text("old", encoding="ascii")
    real.chmod(0o640)
    link.symlink_to(real)
    before = real.stat().st_ino
    replace_key_file(link, RING.render(), scrub=scrub)
    assert link.is_symlink()
    assert KeyRing.parse(real.read_text(encoding="ascii")).periods == RING.periods
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.stat().st_ino != before, "another file under the same name"
    assert list(real.parent.iterdir()) == [real]


@pytest.mark.parametrize(("scrub", "left"), [(False, b"old"), (True, b"\0\0\0")])
def test_what_stood_there_is_written_over_where_that_is_asked(tmp_path: Path, *, scrub: bool, left: bytes) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"old")
    with path.open("rb") as old:
        replace_key_file(path, "new", scrub=scrub)
        assert old.read() == left
    assert path.read_bytes() == b"new"


def test_a_copy_of_another_name_is_left_as_it_is(tmp_path: Path) -> None:
    path, other = tmp_path / "keys", tmp_path / "other"
    path.write_bytes(b"old")
    other.hardlink_to(path)
    replace_key_file(path, "new", scrub=True)
    assert (path.read_bytes(), other.read_bytes()) == (b"new", b"old")


def test_where_nothing_can_be_replaced_everything_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250)  # beside it no file of a longer name can be
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match=r"File name too long\. It is as it was\."):
        replace_key_file(path, "new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


def test_what_is_not_there_cannot_be_replaced(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be replaced: No such file"):
        replace_key_file(tmp_path / "keys", "new")
    assert not list(tmp_path.iterdir())
