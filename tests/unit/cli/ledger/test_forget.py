# SPDX-License-Identifier: Apache-2.0
import argparse
from pathlib import Path

import pytest

from proxy.cli.ledger import forget
from proxy.clock import unix_seconds
from proxy.errors import UsageError
from proxy.ledger.pseudonym import KeyRing, following, period_of
from tests.support.keys import write_pseudonym_keys

KEYS = (bytes([number]) * 32 for number in range(1, 255))


def a_ring(*periods: str) -> KeyRing:
    return KeyRing(next(KEYS), {period: next(KEYS) for period in periods})


def now() -> str:
    return period_of(unix_seconds())


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    forget.configure(parser)
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


def test_a_key_is_erased_and_what_that_does_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ring = a_ring("2020-01", "2020-02", now(), following(now()))
    file = write_pseudonym_keys(tmp_path / "keys", ring)
    file.chmod(0o640)
    file.write_text("# ours\n" + ring.render(), encoding="ascii")
    with file.open("rb") as before:
        assert run(str(file), "2020-01", "--yes") == 0
        assert not before.read().strip(b"\0"), "what stood there is written over"
    assert file.read_text(encoding="ascii") == "# ours\n" + ring.without("2020-01").render()
    assert file.stat().st_mode & 0o777 == 0o640
    out = capsys.readouterr().out
    for told in ("no key of 2020-01 any more", "backups and snapshots", "copies of other gateways", "proof stands"):
        assert told in out


def test_a_key_that_named_people_in_months_without_one_is_told_as_theirs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_pseudonym_keys(tmp_path / "keys", a_ring("2020-01", "2020-03", now()))
    assert run(str(file), "2020-01", "--yes") == 0
    assert "The records of 2020-01 and 2020-02 name people" in capsys.readouterr().out


def test_many_months_without_a_key_are_told_by_their_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_pseudonym_keys(tmp_path / "keys", a_ring("2020-01", "2020-12", now()))
    assert run(str(file), "2020-01", "--yes") == 0
    assert "The records of 2020-01 to 2020-11 name people" in capsys.readouterr().out


REFUSED = {
    "without a word that it shall be": (["2020-01"], r"of 2020-01 for ever.*--yes"),
    "the key of grants' subjects": (["subjects", "--yes"], "is of no month: grants name"),
    "a month that is none": (["2020-13", "--yes"], "'2020-13' is no month such as 2026-11"),
    "a month without a key": (["2020-03", "--yes"], r"no key of 2020-03\. It has: 2020-01, 2020-02, "),
    "this month": (["now", "--yes"], "is not over"),
    "a month to come": (["next", "--yes"], "is not over"),
}


@pytest.mark.parametrize(("arguments", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_and_the_file_is_as_it_was(tmp_path: Path, arguments: list[str], told: str) -> None:
    ring = a_ring("2020-01", "2020-02", now(), following(now()), following(following(now())))
    file = write_pseudonym_keys(tmp_path / "keys", ring)
    period = {"now": now(), "next": following(now())}.get(arguments[0], arguments[0])
    with pytest.raises(UsageError, match=told):
        run(str(file), period, *arguments[1:])
    assert file.read_text(encoding="ascii") == ring.render()


@pytest.mark.parametrize("periods", [("2020-01", "2020-02"), ("2020-02",)])
def test_the_key_in_use_stays_though_its_month_is_over(tmp_path: Path, periods: tuple[str, ...]) -> None:
    ring = a_ring(*periods)
    file = write_pseudonym_keys(tmp_path / "keys", ring)
    with pytest.raises(UsageError, match=r"2020-02 is still in use.*keygen FILE --extend"):
        run(str(file), "2020-02", "--yes")
    assert file.read_text(encoding="ascii") == ring.render()


def test_what_is_no_ring_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        run(str(tmp_path / "none"), "2020-01", "--yes")
    (tmp_path / "keys").touch(mode=0o600)
    (tmp_path / "keys").write_text("ab" * 32, encoding="ascii")
    with pytest.raises(UsageError, match="line 1"):
        run(str(tmp_path / "keys"), "2020-01", "--yes")
