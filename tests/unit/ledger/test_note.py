# SPDX-License-Identifier: Apache-2.0
"""Signed notes: the example of the specification, every way in which a note or a key is none, and mutations."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.note import (
    MAX_NOTE_CHARS,
    MAX_SIGNATURES,
    NoteError,
    SigningKey,
    VerifierKey,
    check_name,
    encode_base64,
    open_note,
    read_unverified,
)

SPEC_VERIFIER = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
"""The example of c2sp.org/signed-note."""
GO_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SIGNING = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_NOTE = (
    f"{GO_TEXT}\n— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
"""The example in the documentation of Go's package golang.org/x/mod/sumdb/note."""

KEY = SigningKey("ledger.example/tokyo-1", bytes(range(32)))
OTHER = SigningKey("ledger.example/seoul-1", bytes(32))
NAMESAKE = SigningKey("ledger.example/tokyo-1", bytes(reversed(range(32))))
TEXT = "ledger.example/tokyo-1\n3\n7 lines\n\nand more\n"
NOTE = KEY.sign(TEXT)


def _line(name: str, data: bytes) -> str:
    return f"— {name} {encode_base64(data)}\n"


def test_the_example_of_the_go_package_is_made_and_opened() -> None:
    key = SigningKey.parse(GO_SIGNING)
    assert str(key.verifier) == GO_VERIFIER
    assert key.render() == GO_SIGNING
    assert key.sign(GO_TEXT) == GO_NOTE
    assert open_note(GO_NOTE, [VerifierKey.parse(GO_VERIFIER)]).text == GO_TEXT


def test_the_example_of_the_specification_is_opened() -> None:
    key = VerifierKey.parse(SPEC_VERIFIER)
    assert (key.name, key.key_id.hex(), str(key)) == ("example.com/foo", "530d903a", SPEC_VERIFIER)
    opened = open_note(SPEC_NOTE, [key])
    assert (opened.text, opened.keys) == ("This is an example message.\n", (key,))


def test_a_key_reads_back_what_it_wrote() -> None:
    key = SigningKey.generate("東京.example/1")
    again = SigningKey.parse(key.render())
    assert again.verifier == key.verifier == VerifierKey.parse(str(key.verifier))
    assert again.render() == key.render()
    assert SigningKey.generate("a").render() != SigningKey.generate("a").render()


def test_a_signing_key_shows_no_secret() -> None:
    secret = KEY.render().rpartition("+")[2]
    for shown in (repr(KEY), str(KEY), repr(KEY.verifier), str(KEY.verifier)):
        assert secret not in shown
        assert bytes(range(32)).hex() not in shown


def test_verifier_keys_go_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(KEY.verifier)) == KEY.verifier  # noqa: S301 - our own bytes


def test_a_note_is_opened_with_the_keys_that_signed_it() -> None:
    both = NOTE + OTHER.sign(TEXT).rpartition("\n\n")[2]
    opened = open_note(both, [NAMESAKE.verifier, OTHER.verifier, KEY.verifier])
    assert opened.text == TEXT
    assert set(opened.keys) == {KEY.verifier, OTHER.verifier}


def test_as_many_signatures_as_the_specification_asks_for_and_more() -> None:
    strangers = "".join(_line("stranger", bytes([at, 0, 0, 0, 1])) for at in range(MAX_SIGNATURES - 1))
    assert MAX_SIGNATURES >= 16
    assert open_note(NOTE + strangers, [KEY.verifier]).text == TEXT
    with pytest.raises(NoteError, match="at most 100 signatures"):
        open_note(NOTE + strangers + _line("stranger", b"12345"), [KEY.verifier])


def test_the_text_of_a_note_that_nobody_vouches_for() -> None:
    assert read_unverified(NOTE) == TEXT
    with pytest.raises(NoteError, match="no signed note"):
        read_unverified("text\n")


SIGNATURE = NOTE.rpartition("\n\n")[2]
KEY_ID = KEY.verifier.key_id
FORGED = _line(KEY.name, KEY_ID + bytes(64))
NOT_BELIEVED = [
    pytest.param(TEXT + "\n" + FORGED, "does not fit the text", id="a forged signature"),
    pytest.param(NOTE + FORGED, "does not fit the text", id="a forged signature of a key that signed truly before it"),
    pytest.param(NOTE.replace("3\n", "4\n"), "does not fit the text", id="a text that was changed"),
    pytest.param(TEXT + "\n" + _line(KEY.name, KEY_ID + b"x"), "does not fit", id="a signature that is too short"),
    pytest.param(OTHER.sign(TEXT), "none of the given keys", id="a key of another name"),
    pytest.param(NAMESAKE.sign(TEXT), "none of the given keys", id="another key of the same name"),
    pytest.param(
        TEXT + "\n" + _line("else", KEY_ID + bytes(64)), "none of the given keys", id="the id under another name"
    ),
]
NO_NOTES = [
    pytest.param("", "no signed note", id="nothing"),
    pytest.param("\n\n", "no signed note", id="two newlines"),
    pytest.param(TEXT, "has the form", id="a text whose last lines are no signatures"),
    pytest.param("text\n", "no signed note", id="a text alone"),
    pytest.param("text\n\n", "no signed note", id="no signature after the blank line"),
    pytest.param(NOTE.removesuffix("\n"), "ends with a newline", id="no newline at the end"),
    pytest.param(NOTE + "\n", "no signed note", id="a blank line at the end"),
    pytest.param(NOTE + "more\n", "has the form", id="a line that is no signature"),
    pytest.param(NOTE.replace("—", "-"), "has the form", id="a hyphen in place of the em dash"),
    pytest.param(NOTE.replace("— ", "—"), "has the form", id="no space after the em dash"),
    pytest.param(NOTE.replace("\n", "\r\n"), "no signed note", id="lines that end as on Windows"),
    pytest.param(NOTE.replace("7 lines", "7\tlines"), "control characters", id="a tab"),
    pytest.param(NOTE.replace("7 lines", "7\0lines"), "control characters", id="a zero byte"),
    pytest.param(NOTE.replace("7 lines", "7\ud800lines"), "UTF-8", id="half a character"),
    pytest.param(TEXT + "\n" + SIGNATURE.replace("tokyo-1 ", "tokyo-1  "), "no base64", id="two spaces"),
    pytest.param(TEXT + "\n" + SIGNATURE.replace("tokyo", "to+kyo"), "has the form", id="a plus in a name"),
    pytest.param(TEXT + "\n" + SIGNATURE.replace("tokyo", "to\u3000kyo"), "has the form", id="a wide space in a name"),
    pytest.param(TEXT + "\n— name\n", "has the form", id="a name alone"),
    pytest.param(TEXT + "\n—  AAAAAAA=\n", "has the form", id="an empty name"),
    pytest.param(TEXT + "\n— name \n", "too short", id="no signature after the name"),
    pytest.param(TEXT + "\n— name AAAAAA==\n", "too short", id="a key id alone"),
    pytest.param(TEXT + "\n— name AAAAAAA\n", "no base64", id="base64 without its padding"),
    pytest.param(TEXT + "\n— name AAAAAAB=\n", "no base64", id="base64 with bits left over"),
    pytest.param(TEXT + "\n— name AAAA AAA=\n", "no base64", id="a space within base64"),
    pytest.param(TEXT + "\n— name AAAA-_8=\n", "no base64", id="the base64 of URLs"),
    pytest.param(TEXT + "\n— name AAAAAAAé\n", "no base64", id="a letter that base64 does not have"),
    pytest.param("x" * MAX_NOTE_CHARS + NOTE, "at most", id="a note that is too long"),
]


@pytest.mark.parametrize(("note", "why"), [*NOT_BELIEVED, *NO_NOTES])
def test_what_is_no_note_or_not_believed(note: str, why: str) -> None:
    with pytest.raises(NoteError, match=why):
        open_note(note, [KEY.verifier])


def test_no_key_opens_nothing() -> None:
    with pytest.raises(NoteError, match=r"it is signed by ledger\.example/tokyo-1\+"):
        open_note(NOTE, [])


VERIFIER = str(KEY.verifier)
NO_VERIFIERS = [
    pytest.param("", "has the form", id="nothing"),
    pytest.param("name", "has the form", id="a name"),
    pytest.param(VERIFIER.rpartition("+")[0], "has the form", id="no key"),
    pytest.param("+" + VERIFIER.partition("+")[2], "not empty", id="no name"),
    pytest.param(" " + VERIFIER, "no space", id="a space before it"),
    pytest.param(VERIFIER + "\n", "base64", id="a newline after it"),
    pytest.param(VERIFIER + "=", "base64", id="padding after it"),
    pytest.param(VERIFIER.replace("tokyo", "osaka"), "a part of it was changed", id="another name"),
    pytest.param(VERIFIER.replace(KEY_ID.hex(), "00000000"), "a part of it was changed", id="another id"),
    pytest.param(VERIFIER.replace(KEY_ID.hex(), KEY_ID.hex().upper()), "a part of it", id="an id in capitals"),
    pytest.param("a+00000000+AAAA", "another kind", id="a key of type 0"),
    pytest.param("a+00000000+" + encode_base64(b"\x04" + bytes(32)), "another kind", id="a key of cosignatures"),
    pytest.param("a+00000000+" + encode_base64(b"\x01" + bytes(31)), "32 bytes, not 31", id="a byte too few"),
    pytest.param("a+00000000+" + encode_base64(b"\x01" + bytes(33)), "32 bytes, not 33", id="a byte too many"),
    pytest.param("a\ud800+00000000+" + encode_base64(b"\x01" + bytes(32)), "UTF-8", id="half a character"),
    pytest.param(KEY.render(), "secret", id="the signing key"),
]


@pytest.mark.parametrize(("text", "why"), NO_VERIFIERS)
def test_what_is_no_verifier_key(text: str, why: str) -> None:
    with pytest.raises(NoteError, match=why) as raised:
        VerifierKey.parse(text)
    assert KEY.render().rpartition("+")[2] not in str(raised.value)


SECRET = KEY.render()
NO_SIGNERS = [
    pytest.param("", "has the form", id="nothing"),
    pytest.param(VERIFIER, "has the form", id="the verifier key"),
    pytest.param(SECRET.lower(), "has the form", id="small letters"),
    pytest.param(SECRET.rpartition("+")[0], "has the form", id="no secret"),
    pytest.param(SECRET.replace("tokyo", "osaka"), "a part of it was changed", id="another name"),
    pytest.param(SECRET.replace("tokyo", "to kyo"), "no space", id="a name with a space"),
    pytest.param(SECRET[:-4], "32 bytes, not 29", id="a secret that is cut short"),
    pytest.param(SECRET[:-1], "base64", id="a secret without its last character"),
    pytest.param(SECRET.replace("+AQ", "+AA"), "another kind", id="a secret of another type"),
]


@pytest.mark.parametrize(("text", "why"), NO_SIGNERS)
def test_what_is_no_signing_key(text: str, why: str) -> None:
    with pytest.raises(NoteError, match=why) as raised:
        SigningKey.parse(text)
    assert SECRET.rpartition("+")[2][:8] not in str(raised.value), "no message holds a part of the secret"


def test_a_seed_of_another_length_is_none() -> None:
    with pytest.raises(NoteError, match="32 secret bytes, not 31"):
        SigningKey("a", bytes(31))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param("a b", id="a space"),
        pytest.param("a\u00a0b", id="a space that does not break"),
        pytest.param("a\u2028b", id="a separator of lines"),
        pytest.param("a+b", id="a plus"),
        pytest.param("a\x01b", id="a control character"),
        pytest.param("a\nb", id="a newline"),
        pytest.param("\ud800", id="half a character"),
    ],
)
def test_what_is_no_name_of_a_key(name: str) -> None:
    assert check_name(name)
    with pytest.raises(NoteError, match="the name of a key"):
        SigningKey.generate(name)


@pytest.mark.parametrize("name", ["a", "ledger.example/tokyo-1", "東京", "a/b?c=d#e—"])
def test_what_is_a_name_of_a_key(name: str) -> None:
    key = SigningKey(name, bytes(32))
    assert open_note(key.sign("text\n"), [key.verifier]).keys == (key.verifier,)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("", "newline", id="nothing"),
        pytest.param("text", "newline", id="no newline at the end"),
        pytest.param("a\tb\n", "control", id="a tab"),
        pytest.param("\udfff\n", "UTF-8", id="half a character"),
    ],
)
def test_what_no_key_signs(text: str, why: str) -> None:
    with pytest.raises(NoteError, match=why):
        KEY.sign(text)


@given(st.integers(0, len(NOTE.encode()) * 8 - 1))
def test_one_bit_anywhere_and_the_note_is_not_believed(bit: int) -> None:
    data = bytearray(NOTE.encode())
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NoteError):
        open_note(data.decode("utf-8", "surrogateescape"), [KEY.verifier])


@given(st.text(), st.text())
def test_reading_raises_nothing_but_its_own_error(one: str, other: str) -> None:
    for text in (one, f"{one}\n\n— {other}\n", f"{one}\n\n— a {other}\n", f"{one}+{KEY_ID.hex()}+{other}"):
        for read in (VerifierKey.parse, SigningKey.parse, lambda text: open_note(text, [KEY.verifier])):
            with pytest.raises(NoteError):
                read(text)
            with pytest.raises(NoteError):
                read(f"PRIVATE+KEY+{text}")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_text_is_signed_and_opened_as_it_was(text: str) -> None:
    assert open_note(KEY.sign(text + "\n"), [KEY.verifier]).text == text + "\n"


def test_a_key_signs_for_the_ledgers_of_its_workers() -> None:
    part = KEY.of_part("worker-2")
    assert part.verifier == KEY.verifier.of_part("worker-2") == VerifierKey(f"{KEY.name}/worker-2", KEY.verifier.public)
    opened = open_note(part.sign(TEXT), [OTHER.verifier, KEY.verifier])
    assert opened.keys == (part.verifier,)


@pytest.mark.parametrize(
    "name",
    [f"{OTHER.name}/worker-2", f"{KEY.name}/other", f"{KEY.name}/x/worker-2", f"{KEY.name}/worker-0", "worker-2"],
)
def test_a_name_that_is_no_workers_is_not_vouched_for(name: str) -> None:
    signed = SigningKey(name, bytes(range(32))).sign(TEXT)
    with pytest.raises(NoteError, match="none of the given keys"):
        open_note(signed, [KEY.verifier])


def test_the_key_of_a_namesakes_worker_is_not_believed() -> None:
    with pytest.raises(NoteError, match="none of the given keys"):
        open_note(NAMESAKE.of_part("worker-2").sign(TEXT), [KEY.verifier])
