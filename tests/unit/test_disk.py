# SPDX-License-Identifier: Apache-2.0
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.disk import find_kind, open_regular, read_key_file, replace_file, sync_folder, write_new_file
from proxy.errors import UsageError
from tests.support.small_disk import no_file_larger_than


def test_a_file_is_opened_to_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one")
    file = open_regular(tmp_path / "file")
    assert os.read(file, 10) == b"one"
    os.close(file)


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (os.mkfifo, "it is no regular file"),
    "a folder": (Path.mkdir, "it is no regular file"),
    "nothing": (lambda _: None, "No such file"),
}


@pytest.mark.parametrize(("make", "told"), NO_FILES.values(), ids=NO_FILES.keys())
def test_what_is_no_file_is_an_error_that_names_it_and_leaves_nothing_open(
    tmp_path: Path, make: Callable[[Path], object], told: str
) -> None:
    make(tmp_path / "place")
    before = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises(OSError, match=told) as raised:
        open_regular(tmp_path / "place")
    assert raised.value.filename == str(tmp_path / "place") or raised.value.filename == tmp_path / "place"
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_a_link_is_followed_unless_the_flags_say_no(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one")
    (tmp_path / "link").symlink_to("file")
    os.close(open_regular(tmp_path / "link"))
    with pytest.raises(OSError, match="symbolic links"):
        open_regular(tmp_path / "link", os.O_NOFOLLOW)


def test_a_folder_is_synced_and_what_is_none_is_an_error(tmp_path: Path) -> None:
    sync_folder(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "file")


def test_a_file_that_is_made_has_its_mode_and_is_made_over_none(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_new_file(path, "one", 0o600)
    assert (path.read_text(encoding="utf-8"), stat.S_IMODE(path.stat().st_mode)) == ("one", 0o600)
    with pytest.raises(FileExistsError):
        write_new_file(path, "two", 0o600)
    assert path.read_text(encoding="utf-8") == "one"


def test_of_a_file_that_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    with no_file_larger_than(10), pytest.raises(OSError, match="File too large"):
        write_new_file(tmp_path / "file", "x" * 100, 0o600)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scrub", [False, True])
def test_a_file_is_replaced_with_its_mode_through_a_link(tmp_path: Path, *, scrub: bool) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "keys", tmp_path / "keys"
    real.write_text("old", encoding="ascii")
    real.chmod(0o640)
    link.symlink_to(real)
    before = real.stat().st_ino
    replace_file(link, "new", scrub=scrub)
    assert link.is_symlink()
    assert real.read_text(encoding="ascii") == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.stat().st_ino != before, "another file under the same name"
    assert list(real.parent.iterdir()) == [real]


@pytest.mark.parametrize(("scrub", "left"), [(False, b"old"), (True, b"\0\0\0")])
def test_what_stood_there_is_written_over_where_that_is_asked(tmp_path: Path, *, scrub: bool, left: bytes) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"old")
    with path.open("rb") as old:
        replace_file(path, "new", scrub=scrub)
        assert old.read() == left
    assert path.read_bytes() == b"new"


def test_a_copy_of_another_name_is_left_as_it_is(tmp_path: Path) -> None:
    path, other = tmp_path / "keys", tmp_path / "other"
    path.write_bytes(b"old")
    other.hardlink_to(path)
    replace_file(path, "new", scrub=True)
    assert (path.read_bytes(), other.read_bytes()) == (b"new", b"old")


def test_where_nothing_can_be_replaced_everything_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250)  # beside it no file of a longer name can be
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match=r"File name too long\. It is as it was\."):
        replace_file(path, "new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


def test_what_is_not_there_cannot_be_replaced(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be replaced: No such file"):
        replace_file(tmp_path / "keys", "new")
    assert not list(tmp_path.iterdir())


def _key(mode: int, data: bytes = b"a key\n") -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.write_bytes(data)
        path.chmod(mode)

    return make


NO_KEYS: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda _: None, "cannot be read: No such file or directory. Make one."),
    "a folder": (Path.mkdir, "cannot be read: it is a folder (Docker makes one in the place of a file that is to be"),
    "a pipe that nobody writes to": (os.mkfifo, "cannot be read: it is no regular file. Make one."),
    "a device without end": (lambda path: path.symlink_to("/dev/zero"), "cannot be read: it is no regular file"),
    "nothing in it": (_key(0o600, b""), "is none: it is empty. Make one."),
    "blank lines": (_key(0o600, b" \n\n"), "is none: it is empty"),
    "more than there can be": (_key(0o600, b"x" * 101), "is none: it has more than 100 bytes"),
    "what everybody may read": (_key(0o644), "is open to others (mode 644), and whoever has it can do as the gateway"),
    "what its group may write": (_key(0o660), "is open to others (mode 660)"),
    "what others may execute": (_key(0o601), "is open to others (mode 601)"),
}


@pytest.mark.parametrize(("make", "told"), NO_KEYS.values(), ids=NO_KEYS.keys())
def test_what_is_no_file_of_keys_is_told_with_the_mend(
    tmp_path: Path, make: Callable[[Path], object], told: str
) -> None:
    make(tmp_path / "key")
    with pytest.raises(UsageError) as raised:
        read_key_file(tmp_path / "key", "The key", "Make one.", limit=100)
    assert str(raised.value).startswith(f"The key {tmp_path / 'key'} {told}")


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_key_is_its_owners_and_its_groups_alone(tmp_path: Path, mode: int) -> None:
    _key(mode)(tmp_path / "key")
    assert read_key_file(tmp_path / "key", "The key", "Make one.", limit=100) == b"a key\n"


KINDS = {
    b"PRIVATE+KEY+name+0+x": " (it looks like the key of a ledger, of --ledger-key)",
    b"# ours\n  subjects 00\n": " (it looks like a key ring of pseudonyms, of --pseudonym-key)",
    b"2026-11-22T09:00:00.000Z EdDSA 00": " (it looks like keys of assertions, of SEKISHO_ASSERTION_KEY)",
    b"-----BEGIN PRIVATE KEY-----": "",
    b"CHANGEME": "",
}


@pytest.mark.parametrize(("data", "told"), KINDS.items())
def test_a_key_of_another_kind_is_known(data: bytes, told: str) -> None:
    assert find_kind(data, "--tls-key") == told
