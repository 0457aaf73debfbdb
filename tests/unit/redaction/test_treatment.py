# SPDX-License-Identifier: Apache-2.0
from tests.support.filtering import TREATMENT


def test_an_answer_has_limits_of_its_own() -> None:
    assert (TREATMENT.record_bytes, TREATMENT.depth, TREATMENT.number_chars) == (1_048_576, 64, 128)
