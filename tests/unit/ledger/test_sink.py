# SPDX-License-Identifier: Apache-2.0
"""What the writer asks of the place that lines go to, both places answer, and alike."""

import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.ledger.files import Folder
from proxy.ledger.sink import Sink
from proxy.ledger.stdout import StandardOutput, Stream

ASKED = [name for name in vars(Sink) if not name.startswith("_")]


@pytest.fixture(params=["folder", "stream"])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sink]:
    made: Sink
    if request.param == "folder":
        made = Folder(tmp_path / "ledger")
    else:
        file = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
        made = Stream(StandardOutput(file))
        os.close(file)
    yield made
    made.close()


@pytest.mark.parametrize("kind", [Folder, Stream])
def test_a_place_takes_what_the_writer_gives(kind: type) -> None:
    for name in ASKED:
        asked = inspect.getattr_static(Sink, name)
        if inspect.isfunction(asked):
            assert [*inspect.signature(getattr(kind, name)).parameters] == [*inspect.signature(asked).parameters]


def test_lines_stand_where_they_were_put_and_nothing_is_left_of_what_failed(sink: Sink, tmp_path: Path) -> None:
    sink.begin(0, b"a\n")
    sink.write(b"b\nc\n")
    assert sink.is_in_place()
    sink.sync()
    sink.keep_checkpoint("note")
    assert sink.find_older(0.0) == ([], 0)
    assert (sink.segment or tmp_path / "out").read_bytes() == b"a\nb\nc\n"
    assert sink.name


def test_a_place_that_is_closed_takes_nothing(sink: Sink) -> None:
    sink.begin(0, b"a\n")
    sink.close()
    with pytest.raises((OSError, ValueError)):
        sink.write(b"b\n")
