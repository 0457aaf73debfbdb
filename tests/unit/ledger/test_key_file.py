# SPDX-License-Identifier: Apache-2.0
"""Files of keys: written once and for their owner alone, read with messages that hold no secret."""

import os
import stat
from pathlib import Path

import pytest

from proxy.errors import UsageError
from proxy.ledger.key_file import read_signing_key, read_verifier_keys, write_key_pair
from proxy.ledger.note import SigningKey

KEY = SigningKey("ledger.example/tokyo-1", bytes(range(32)))
OTHER = SigningKey("ledger.example/seoul-1", bytes(32))


def test_a_pair_reads_back_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "key"
    public = write_key_pair(file, KEY)
    assert public == tmp_path / "key.pub"
    assert read_signing_key(file).render() == KEY.render()
    assert read_verifier_keys(public) == (KEY.verifier,)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert KEY.render() not in public.read_text(encoding="utf-8")


@pytest.mark.parametrize("which", ["key", "key.pub"])
@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_a_pair_is_never_written_over_anything(tmp_path: Path, which: str, kind: str) -> None:
    there = tmp_path / which
    if kind == "file":
        there.write_text("old", encoding="ascii")
    elif kind == "folder":
        there.mkdir()
    else:
        there.symlink_to(tmp_path / "target")
    with pytest.raises(UsageError, match="exists: a ledger that is signed with another key"):
        write_key_pair(tmp_path / "key", KEY)
    assert [each.name for each in tmp_path.iterdir()] == [which], "neither is left behind"
    assert kind != "file" or there.read_text(encoding="ascii") == "old"


@pytest.mark.parametrize("name", ["missing/key", "x" * 300, "x" * 253])
def test_where_no_file_can_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be made: .*\. Name another file\."):
        write_key_pair(tmp_path / name, KEY)
    assert not os.listdir(tmp_path)  # noqa: PTH208 - also what has a strange name


NO_SIGNERS = [
    pytest.param(None, "cannot be read: No such file", id="no file"),
    pytest.param(b"", "is none: it is empty", id="an empty file"),
    pytest.param(
        str(KEY.verifier).encode(), "this looks like the verifier key that goes with it", id="the verifier key"
    ),
    pytest.param(KEY.render()[:-8].encode(), "is none: ", id="a key that is cut short"),
    pytest.param((KEY.render() + "\n" + OTHER.render()).encode(), "is none: ", id="two keys"),
    pytest.param(b"\xff\xfe", "is no text in UTF-8", id="no text"),
    pytest.param(bytes(range(32)).hex().encode(), "has the form", id="a key of pseudonyms"),
]


@pytest.mark.parametrize(("data", "why"), NO_SIGNERS)
def test_what_is_no_file_of_a_signing_key(tmp_path: Path, data: bytes | None, why: str) -> None:
    file = tmp_path / "key"
    if data is not None:
        file.touch(mode=0o600)
        file.write_bytes(data)
    with pytest.raises(UsageError, match=why) as raised:
        read_signing_key(file)
    assert str(file) in str(raised.value)
    assert "sekisho ledger keygen" in str(raised.value)
    assert KEY.render().rpartition("+")[2][:8] not in str(raised.value)


def test_without_a_signing_key_nothing_starts() -> None:
    with pytest.raises(UsageError, match=r"is not set: .* with --ledger-key FILE"):
        read_signing_key(None)


def test_a_file_of_several_verifier_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{KEY.verifier}\r\n\n  {OTHER.verifier}  \n  # the end", encoding="utf-8")
    assert read_verifier_keys(file) == (KEY.verifier, OTHER.verifier)


NO_VERIFIERS = [
    pytest.param(None, "cannot be read: No such file", id="no file"),
    pytest.param("", "holds no verifier key", id="an empty file"),
    pytest.param("# none\n\n", "holds no verifier key", id="comments alone"),
    pytest.param(f"{KEY.verifier}\n{KEY.verifier}x\n", ":2: this is no verifier key", id="a wrong second line"),
    pytest.param(KEY.render(), ":1: this is no verifier key: this is a signing key", id="the signing key"),
    pytest.param("\ud8ff", "is no text in UTF-8", id="no text"),
]


@pytest.mark.parametrize(("text", "why"), NO_VERIFIERS)
def test_what_is_no_file_of_verifier_keys(tmp_path: Path, text: str | None, why: str) -> None:
    file = tmp_path / "keys"
    if text is not None:
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UsageError, match=why) as raised:
        read_verifier_keys(file)
    assert KEY.render() not in str(raised.value)
