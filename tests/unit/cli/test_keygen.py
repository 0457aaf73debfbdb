# SPDX-License-Identifier: Apache-2.0
import re
import stat
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.clock import unix_seconds
from proxy.ledger.pseudonym import KeyRing, following, period_of
from tests.support.keys import RING, write_pseudonym_keys


def months(count: int) -> tuple[str, ...]:
    found = [period_of(unix_seconds())]
    while len(found) < count:
        found.append(following(found[-1]))
    return tuple(found)


def keys_of(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="ascii").splitlines()
    held = (line.partition(" ") for line in lines if not line.startswith("#"))
    return {name: key for name, _, key in held}


@pytest.mark.parametrize(("flags", "count"), [([], 24), (["--months", "1"], 1), (["--months", "120"], 120)])
def test_keys_are_written_for_their_owner_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], count: int
) -> None:
    file = tmp_path / "key"
    expected = months(count)
    assert main(["keygen", str(file), *flags]) == 0
    ring = KeyRing.parse(file.read_text(encoding="ascii"))
    assert ring.periods in {expected, months(count)}, "a month may end meanwhile"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    out, err = capsys.readouterr()
    assert f"{file} holds new keys: of grants' subjects, and of {count} months." in out
    assert not re.search(r"[0-9a-f]{16}", out + err), "no key is ever shown"


def test_two_rings_share_no_key(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert main(["keygen", str(tmp_path / name)]) == 0
    assert not {*keys_of(tmp_path / "a").values()} & {*keys_of(tmp_path / "b").values()}


def test_a_ring_is_extended_and_no_key_is_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_pseudonym_keys(tmp_path / "key", RING)
    text = "# ours\n" + file.read_text(encoding="ascii")
    file.write_text(text, encoding="ascii")
    file.chmod(0o640)
    assert main(["keygen", str(file), "--extend", "--months", "3"]) == 0
    assert file.read_text(encoding="ascii").startswith(text)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    ring = KeyRing.parse(file.read_text(encoding="ascii"))
    assert ring.periods == ("2020-01", *ring.periods[1:])
    assert ring.periods[1:] in {months(3), months(4)[1:]}
    out = capsys.readouterr().out
    assert f"{file} has 3 new keys, from {ring.periods[1]} to {ring.periods[3]}; those that it had are as" in out
    assert "Every gateway" in out

    before = file.read_bytes()
    assert main(["keygen", str(file), "--extend", "--months", "2"]) == 0
    assert file.read_bytes() == before
    assert "as it was" in capsys.readouterr().out


def test_one_month_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_pseudonym_keys(tmp_path / "key", RING)
    assert main(["keygen", str(file), "--extend", "--months", "1"]) == 0
    assert f"has a new key, of {period_of(unix_seconds())};" in capsys.readouterr().out


@pytest.mark.parametrize("count", ["0", "-3", "601"])
@pytest.mark.parametrize("extend", [False, True])
def test_so_many_months_cannot_be_had(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: str, *, extend: bool
) -> None:
    file = tmp_path / "key"
    if extend:
        write_pseudonym_keys(file, RING)
    assert main(["keygen", str(file), "--months", count, *(["--extend"] if extend else [])]) == 2
    assert "--months: " in capsys.readouterr().err
    assert not file.exists() or file.read_text(encoding="ascii") == RING.render()


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_a_key_is_never_written_over_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    file, target = tmp_path / "key", tmp_path / "target"
    if kind == "file":
        file.write_text("old", encoding="ascii")
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(target)
        if kind == "link":
            target.write_text("old", encoding="ascii")
    assert main(["keygen", str(file)]) == 2
    assert "exists" in capsys.readouterr().err
    assert not file.is_file() or file.read_text(encoding="ascii") == "old"
    assert kind != "dangling link" or not target.exists()


@pytest.mark.parametrize("name", ["missing/key", "x" * 300])
def test_where_no_file_can_be(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["keygen", str(tmp_path / name)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("sekisho: ")
    assert "Name another file." in err


@pytest.mark.parametrize("text", [None, "", "ab" * 32], ids=["nothing", "an empty file", "a key of an earlier release"])
def test_what_is_no_ring_is_not_extended(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None) -> None:
    file = tmp_path / "key"
    if text is not None:
        file.write_text(text, encoding="ascii")
    assert main(["keygen", str(file), "--extend"]) == 2
    assert str(file) in capsys.readouterr().err
    assert text is None or file.read_text(encoding="ascii") == text
