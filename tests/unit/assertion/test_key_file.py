# SPDX-License-Identifier: Apache-2.0
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.assertion.key_file import MAX_BYTES, make_key_file, read_keys
from proxy.assertion.keys import AssertionKeys
from proxy.errors import UsageError
from tests.support.assertions import KEY, write_assertion_keys


def test_what_was_made_is_read_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    make_key_file(path, KEY)
    assert read_keys(path) == AssertionKeys([KEY])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_is_never_made_over_another(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("old", encoding="ascii")
    with pytest.raises(UsageError, match="exists: APIs would not know"):
        make_key_file(path, KEY)
    assert path.read_text(encoding="ascii") == "old"
    with pytest.raises(UsageError, match="cannot be made: No such file"):
        make_key_file(tmp_path / "none" / "keys", KEY)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])
def test_its_owner_and_its_group_may_read_it(tmp_path: Path, mode: int) -> None:
    path = write_assertion_keys(tmp_path / "keys")
    path.chmod(mode)
    assert read_keys(path) == AssertionKeys([KEY])


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o660, 0o620, 0o601, 0o666])
def test_what_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = write_assertion_keys(tmp_path / "keys")
    path.chmod(mode)
    with pytest.raises(UsageError, match=rf"open to others \(mode {mode:o}\).*chmod 600"):
        read_keys(path)


def test_the_mode_of_what_a_link_leads_to_counts(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(write_assertion_keys(tmp_path / "keys"))
    assert read_keys(tmp_path / "link") == AssertionKeys([KEY])
    (tmp_path / "keys").chmod(0o644)
    with pytest.raises(UsageError, match="open to others"):
        read_keys(tmp_path / "link")


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda _: None, "cannot be read: No such file or directory"),
    "a folder": (Path.mkdir, "cannot be read: it is a folder"),
    "a pipe that nobody writes to": (os.mkfifo, "cannot be read: it is no regular file"),
    "bytes that are no text": (lambda path: path.write_bytes(b"\xff"), "is not ASCII text"),
    "a file without end": (lambda path: path.write_bytes(b"#" * (MAX_BYTES + 1)), "has more than 65536 bytes"),
    "nothing in it": (lambda path: path.touch(), "is none: it is empty"),
}


@pytest.mark.parametrize(("make", "told"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_holds_no_keys_names_the_file_and_why(tmp_path: Path, make: Callable[[Path], object], told: str) -> None:
    path = tmp_path / "keys"
    make(path)
    if path.is_file():
        path.chmod(0o600)
    with pytest.raises(UsageError, match=told) as caught:
        read_keys(path)
    assert str(path) in str(caught.value)
