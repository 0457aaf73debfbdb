# SPDX-License-Identifier: Apache-2.0
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.disk import open_regular, sync_folder


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
