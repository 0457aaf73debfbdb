# SPDX-License-Identifier: Apache-2.0
"""How a decoder is driven, and what it is bound to whatever it is fed."""

from collections.abc import Iterable
from typing import Final

from proxy.model.decision import Reason
from proxy.model.filtering import AnswerRefusedError
from proxy.redaction.codings import PART_BYTES, UNSUSPECTED_BYTES, make_decoder

RATIO: Final = 20
REASONS: Final = {each: each for each in (Reason.ANSWER_CODING_BROKEN, Reason.ANSWER_EXPANDS_TOO_MUCH)}
"""There is no other."""


def decode(coding: str, parts: Iterable[bytes], max_ratio: int = RATIO) -> tuple[bytes, Reason | None]:
    """Decode parts; return what came out, and why no more did."""
    decoder, made = make_decoder(coding, max_ratio), bytearray()
    taken = 0
    try:
        for part in parts:
            taken += len(part)
            for piece in decoder.feed(part):
                assert coding == "identity" or len(piece) <= PART_BYTES
                made += piece
                bound = max(UNSUSPECTED_BYTES, taken * max_ratio) + PART_BYTES
                assert coding == "identity" or len(made) <= bound, "more was handed out than a body may expand to"
        decoder.end()
    except AnswerRefusedError as error:
        return bytes(made), REASONS[error.reason]
    return bytes(made), None


def check_alike(coding: str, data: bytes, parts: Iterable[bytes]) -> tuple[bytes, Reason | None]:
    """Fail where a body is read or refused by where its parts end; return what is made of it as a whole.

    Which of two flaws a library comes upon first may hang on that: both are refused.
    """
    whole, made = decode(coding, [data]), decode(coding, parts)
    assert (whole[1] is None) == (made[1] is None)
    shorter, longer = sorted((whole[0], made[0]), key=len)
    assert longer.startswith(shorter)
    assert whole[1] is not None or whole == made
    return whole
