# SPDX-License-Identifier: Apache-2.0

from proxy.gateway.wire.recall import Recall


def test_what_was_kept_is_found() -> None:
    recall = Recall[str](count=4, key_bytes=10, total_bytes=100)
    recall.keep(b"a", "A")
    assert recall.find(b"a") == "A"
    assert recall.find(b"b") is None


def test_the_number_is_bounded_and_what_is_in_use_stays() -> None:
    recall = Recall[int](count=10, key_bytes=10, total_bytes=1000)
    recall.keep(b"used", -1)
    for number in range(1000):
        recall.keep(b"%d" % number, number)
        assert recall.find(b"used") == -1
        assert recall.find(b"%d" % number) == number
        assert sum(recall.find(b"%d" % other) is not None for other in range(number - 20, number)) <= 10


def test_the_bytes_are_bounded() -> None:
    recall = Recall[int](count=1000, key_bytes=50, total_bytes=400)
    for number in range(100):
        recall.keep(b"%050d" % number, number)
    assert sum(recall.find(b"%050d" % number) is not None for number in range(100)) <= 8


def test_what_values_take_is_bounded_too_wherever_they_stand() -> None:
    recall = Recall[int](count=1000, key_bytes=50, total_bytes=400, weigh=lambda value: value)
    for number in range(100):
        recall.keep(b"%d" % number, 48)
        recall.find(b"0")
        assert sum(recall.find(b"%d" % other) is not None for other in range(100)) <= 8


def test_a_long_key_is_not_kept() -> None:
    recall = Recall[int](count=10, key_bytes=3, total_bytes=100)
    recall.keep(b"long", 1)
    assert recall.find(b"long") is None
