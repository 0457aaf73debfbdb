# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest

from proxy.cli.ledger.keys import find_verifier_keys
from proxy.errors import UsageError
from proxy.ledger.note import SigningKey

KEY = SigningKey("ledger.example/tokyo-1", bytes(range(32)))
OTHER = SigningKey("ledger.example/seoul-1", bytes(32))


def test_keys_are_given_as_text_and_as_files_and_each_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "a+b+keys"
    file.write_text(f"# both\n{OTHER.verifier}\n{KEY.verifier}\n", encoding="utf-8")
    assert find_verifier_keys([str(KEY.verifier), str(file)]) == (KEY.verifier, OTHER.verifier)
    assert find_verifier_keys(None) == ()


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        pytest.param("missing.pub", "missing.pub cannot be read: No such file", id="a file that is not there"),
        pytest.param("", "cannot be read", id="nothing"),
        pytest.param(str(KEY.verifier) + "x", "is no verifier key: ", id="a key with a letter too many"),
        pytest.param(str(KEY.verifier).replace("tokyo", "osaka"), "a part of it was changed", id="another name"),
        pytest.param("a+b+" + "c" * 5000, "is no verifier key: ", id="what neither a key nor a file can be"),
    ],
)
def test_what_is_neither_a_key_nor_a_file(flag: str, why: str) -> None:
    with pytest.raises(UsageError, match=re.escape(why)):
        find_verifier_keys([flag])


def test_a_signing_key_given_by_mistake_is_not_shown() -> None:
    with pytest.raises(UsageError, match="this is a signing key, which is secret") as raised:
        find_verifier_keys([KEY.render()])
    assert KEY.render() not in str(raised.value)
