# SPDX-License-Identifier: Apache-2.0
"""The ring of keys that sign: what is read and refused, which key signs when, and what is published."""

import json
import re

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.utils import base64url_decode

from proxy.assertion.keys import (
    ALGORITHMS,
    EDDSA,
    ES256,
    MAX_KEYS,
    RETIRED_SECONDS,
    TYPE,
    AssertionKey,
    AssertionKeyError,
    AssertionKeys,
    make_ring_text,
)
from proxy.caller.keys import parse_key_set

SECRET = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
"""The seed of RFC 8037 A.1."""
P256 = "8e9b109e719098bf980487df1f5d77e9cb29606ebed2263b5f57c213df84f4b2"
"""The private scalar of RFC 7515 A.3."""
LATER = "2026-12-22T09:00:00Z"
RING = f"# ours\n2026-11-22T09:00:00Z EdDSA {SECRET}\n\n{LATER} ES256 {P256}\n"
BEGUN = 1_797_930_000.0
"""When the second one begins."""


def test_the_key_of_rfc_8037_has_its_public_part_and_its_thumbprint() -> None:
    key = AssertionKey(0, EDDSA, bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert key.public["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert key.id == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_the_key_of_rfc_7515_has_its_public_part() -> None:
    key = AssertionKey(0, ES256, bytes.fromhex(P256))
    assert key.public["x"] == "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
    assert key.public["y"] == "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_a_key_signs_others_verify_and_read_what_is_published_of_it(algorithm: str) -> None:
    key = AssertionKey.generate(5.0, algorithm)
    assert json.loads(base64url_decode(key.head)) == {"alg": algorithm, "kid": key.id, "typ": TYPE}
    published = AssertionKeys([key]).publish()
    (found,) = parse_key_set(published, frozenset(ALGORITHMS)).keys
    assert (found.id, found.algorithms, found.thumbprint) == (key.id, frozenset({algorithm}), key.id)
    (theirs,) = jwt.PyJWKSet.from_dict(json.loads(published)).keys
    content = key.head + b".e30"
    assert theirs.Algorithm.verify(content, theirs.key, key.sign(content))
    assert not theirs.Algorithm.verify(content + b"x", theirs.key, key.sign(content))


def test_nothing_secret_is_published_or_shown() -> None:
    keys = AssertionKeys.parse(RING)
    for told in (keys.publish().decode(), repr(keys), *(repr(key) for key in keys)):
        assert SECRET[:8] not in told
        assert P256[:8] not in told
        assert not re.search(r"[0-9a-f]{16}", told)
    assert all(set(key) <= {"kty", "crv", "x", "y", "use", "alg", "kid"} for key in json.loads(keys.publish())["keys"])


@pytest.mark.parametrize(
    ("now", "algorithm"),
    [
        pytest.param(0.0, EDDSA, id="before any has begun, the first"),
        pytest.param(BEGUN - 0.001, EDDSA, id="just before the second"),
        pytest.param(BEGUN, ES256, id="as the second begins"),
        pytest.param(BEGUN * 2, ES256, id="long after"),
    ],
)
def test_the_newest_key_that_has_begun_signs(now: float, algorithm: str) -> None:
    assert AssertionKeys.parse(RING).at(now).algorithm == algorithm


def test_lines_may_stand_in_any_order() -> None:
    assert AssertionKeys.parse(RING) == AssertionKeys.parse("\n".join(reversed(RING.splitlines())))
    assert AssertionKeys.parse(RING) != AssertionKeys.parse(RING.replace("2026-12-22", "2026-12-23"))


NO_INSTANT = "line 1: it does not begin with an instant"
WRONG = {
    "nothing": ("", "it holds no key: `sekisho keys new FILE`"),
    "a comment alone": ("# none\n", "it holds no key"),
    "a bare secret": (SECRET, "line 1: 1 words where three stand"),
    "a day without a time": (f"2026-11-22 EdDSA {SECRET}", NO_INSTANT),
    "an offset that is not UTC": (f"2026-11-22T09:00:00+09:00 EdDSA {SECRET}", NO_INSTANT),
    "a day that does not exist": (f"2026-02-30T09:00:00Z EdDSA {SECRET}", "it begins with no instant that exists"),
    "another algorithm": (f"2026-11-22T09:00:00Z HS256 {SECRET}", "line 1: its second word is neither EdDSA nor ES256"),
    "the secret first": (f"{SECRET} EdDSA 2026-11-22T09:00:00Z", NO_INSTANT),
    "a secret that is cut off": (f"{LATER} EdDSA {SECRET[:-1]}", "the secret is not 64 hexadecimal digits, but 63"),
    "a scalar of zero": (f"{LATER} ES256 {'0' * 64}", "line 1: these digits are no key of ES256"),
    "a scalar beyond the curve's order": (f"{LATER} ES256 {'f' * 64}", "line 1: these digits are no key of ES256"),
    "a key twice": (f"{RING}2027-01-01T00:00:00Z EdDSA {SECRET}", "line 5: this key stands in another line, too"),
    "two keys at one instant": (f"{RING}{LATER} EdDSA {P256}", "line 5: another key begins at the same instant"),
    "more than can be": (
        "".join(f"2026-11-22T09:{n // 60:02d}:{n % 60:02d}Z EdDSA {n:064x}\n" for n in range(1, MAX_KEYS + 2)),
        f"it holds {MAX_KEYS + 1} keys",
    ),
}


@pytest.mark.parametrize(("text", "told"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_ring_says_where_and_why_and_shows_no_secret(text: str, told: str) -> None:
    with pytest.raises(AssertionKeyError, match=re.escape(told)) as caught:
        AssertionKeys.parse(text)
    assert SECRET[:8] not in str(caught.value)


@settings(max_examples=200)
@given(st.lists(st.sampled_from((SECRET, P256, LATER, "EdDSA", "ES256", "#", "x", "\n", "\t", "0")), max_size=12))
def test_any_text_is_a_ring_that_can_be_written_again_or_is_refused(words: list[str]) -> None:
    text = " ".join(words)
    try:
        keys = AssertionKeys.parse(text)
    except AssertionKeyError:
        return
    assert AssertionKeys.parse("\n".join(key.render() for key in keys)) == keys


def test_a_new_key_is_added_and_the_rest_stays_as_it_is() -> None:
    new = AssertionKey.generate(BEGUN + 100, EDDSA)
    text = AssertionKeys.parse(RING).rotate(RING, new, BEGUN + 50)
    assert text == f"{RING}{new.render()}\n"
    assert [key.id for key in AssertionKeys.parse(text)][-1] == new.id


@pytest.mark.parametrize(
    ("after", "left"),
    [
        pytest.param(RETIRED_SECONDS - 1, [EDDSA, ES256, EDDSA], id="another signs since less than an hour"),
        pytest.param(RETIRED_SECONDS, [ES256, EDDSA], id="another signs since an hour"),
    ],
)
def test_what_has_not_signed_for_an_hour_goes_with_its_line_alone(after: float, left: list[str]) -> None:
    now = BEGUN + after
    text = AssertionKeys.parse(RING).rotate(RING, AssertionKey.generate(now + 10, EDDSA), now)
    assert [key.algorithm for key in AssertionKeys.parse(text)] == left
    assert text.startswith("# ours\n")


def test_a_file_that_was_made_is_read() -> None:
    key = AssertionKey.generate(1.0, ES256)
    assert AssertionKeys.parse(make_ring_text(key)) == AssertionKeys([key])
    assert len({key, AssertionKeys([key]), AssertionKeys.parse(make_ring_text(key))}) == 2
