# SPDX-License-Identifier: Apache-2.0
"""Lines to standard output: whole, in order, never waited for long, and an error wherever they cannot leave."""

import contextlib
import errno
import fcntl
import os
import pty
import re
import select
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.clock import elapsed_seconds
from proxy.errors import UsageError
from proxy.ledger.stdout import LIMITS, StandardOutput

LINE = b'{"n":0}\n'
CAPACITY = 65536
PAGE = select.PIPE_BUF


@contextlib.contextmanager
def a_pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, CAPACITY)
    try:
        yield read, write
    finally:
        for each in (read, write):
            with contextlib.suppress(OSError):
                os.close(each)


@contextlib.contextmanager
def a_socket() -> Iterator[tuple[int, int]]:
    read, write = socket.socketpair()
    with read, write:
        yield read.fileno(), write.fileno()


@contextlib.contextmanager
def a_terminal() -> Iterator[tuple[int, int]]:
    read, write = pty.openpty()
    tty.setraw(write)
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)


ENDS = [
    pytest.param(a_pipe, id="a pipe"),
    pytest.param(a_socket, id="a socket"),
    pytest.param(a_terminal, id="a terminal"),
]
Ends = Callable[[], contextlib.AbstractContextManager[tuple[int, int]]]


def read_all(file: int) -> bytes:
    """Read what is there now."""
    found = b""
    while select.select([file], [], [], 0)[0] and (data := os.read(file, CAPACITY)):
        found += data
    return found


def fail(output: StandardOutput, data: bytes = LINE) -> int | None:
    """Write in vain, and return the error's number."""
    with pytest.raises(OSError, match=r".") as caught:
        output.write(data)
    return caught.value.errno


@pytest.mark.parametrize("ends", ENDS)
def test_lines_arrive_whole_and_in_order_through(ends: Ends) -> None:
    with ends() as (read, write):
        output = StandardOutput(write)
        for number in range(3):
            output.write(b'{"n":%d}\n' % number)
            assert output.left == len(LINE)
        assert read_all(read) == b'{"n":0}\n{"n":1}\n{"n":2}\n'
        output.close()


@pytest.mark.parametrize("ends", ENDS)
def test_what_is_larger_than_there_is_room_arrives_while_somebody_reads_through(ends: Ends) -> None:
    data = b"".join(b'{"n":%d}\n' % number for number in range(100_000))
    with ends() as (read, write):
        output = StandardOutput(write, wait=30)
        found = bytearray()

        def take() -> None:
            while len(found) < len(data):
                found.extend(os.read(read, CAPACITY))

        reader = threading.Thread(target=take)
        reader.start()
        output.write(data)
        reader.join(30)
        assert found == data
        assert output.left == len(data)
        output.close()


@pytest.mark.parametrize("ends", ENDS)
def test_where_nobody_reads_it_is_waited_for_once_and_then_an_error_at_once_through(ends: Ends) -> None:
    with ends() as (_, write):
        output = StandardOutput(write, wait=0.05)
        began = elapsed_seconds()
        assert fail(output, LINE * 1_000_000) == errno.EAGAIN
        assert elapsed_seconds() - began >= 0.05
        output._wait = 3600
        for _ in range(100):
            assert fail(output) == errno.EAGAIN, "not waited for"
        output.close()


@pytest.mark.parametrize("ends", ENDS)
def test_once_somebody_reads_again_lines_leave_again_through(ends: Ends) -> None:
    with ends() as (read, write):
        output = StandardOutput(write, wait=0)
        with contextlib.suppress(OSError):
            for _ in range(10_000):
                output.write(LINE * 100)
        whole = read_all(read)
        output.write(LINE)
        whole += read_all(read)
        assert {*whole.split(b"\n")} >= {LINE.strip(), b""}
        assert whole.endswith(LINE)
        assert output.left == len(LINE)
        output.close()


# What is whole, and what is not.


def fill(write: int, leave: int) -> None:
    """Fill a pipe with zeros, but for so many pages."""
    os.write(write, bytes(CAPACITY - leave * PAGE))


def test_of_lines_that_do_not_all_fit_whole_ones_have_left() -> None:
    lines = [b"%d%s\n" % (number, b"x" * 1500) for number in range(5)]
    with a_pipe() as (read, write):
        output = StandardOutput(write, wait=0)
        fill(write, 1)
        assert fail(output, b"".join(lines)) == errno.EAGAIN
        assert output.left == len(lines[0] + lines[1]), "two lines are a page's worth"
        assert read_all(read).strip(b"\0") == lines[0] + lines[1]
        output.write(LINE)
        assert read_all(read) == LINE, "nothing was half"


def test_a_half_line_is_ended_by_the_next_write() -> None:
    with a_pipe() as (read, write):
        output = StandardOutput(write, wait=0)
        fill(write, 1)
        assert fail(output, b"x" * (PAGE + 1) + b"\n") == errno.EAGAIN
        assert output.left == PAGE
        assert fail(output) == errno.EAGAIN
        assert output.left == 0, "nothing of this one"
        assert read_all(read).strip(b"\0") == b"x" * PAGE
        output.write(LINE)
        assert (read_all(read), output.left) == (b"\n" + LINE, len(LINE))
        output.write(LINE)
        assert read_all(read) == LINE


@given(
    st.lists(st.integers(0, 9000), min_size=1, max_size=12),
    st.lists(st.integers(0, 16), min_size=12, max_size=12),
)
def test_whatever_fits_no_line_begins_in_the_middle_of_another(lengths: list[int], pages: list[int]) -> None:
    with a_pipe() as (read, write):
        output = StandardOutput(write, wait=0)
        written, found = [], b""
        for number, (length, leave) in enumerate(zip(lengths, pages, strict=False)):
            fill(write, leave)
            line = b"<%d %s>" % (number, b"x" * length)
            with contextlib.suppress(OSError):
                output.write(line + b"\n")
                written.append(line)
            assert (output.left == len(line) + 1) == (line in written)
            found += read_all(read).replace(b"\0", b"")
        assert [line for line in found.split(b"\n") if line.endswith(b">")] == written
        assert all(re.fullmatch(rb"<\d+ x*>?|<\d*|", line) for line in found.split(b"\n"))
        output.close()


# What is at the other end.


def test_a_reader_of_a_pipe_that_left_is_an_error_at_once() -> None:
    with a_pipe() as (read, write):
        output = StandardOutput(write, wait=3600)
        output.write(LINE)
        os.close(read)
        assert [fail(output) for _ in range(2)] == [errno.EPIPE] * 2
        output.close()


def test_a_reader_of_a_socket_that_left_is_an_error_at_once() -> None:
    read, write = socket.socketpair()
    with write:
        output = StandardOutput(write.fileno(), wait=3600)
        output.write(LINE)
        read.close()
        assert fail(output) in {errno.EPIPE, errno.ECONNRESET}
        assert fail(output) == errno.EPIPE
        output.close()


def test_a_pipe_without_reader_from_the_beginning_is_an_error_at_once() -> None:
    with a_pipe() as (read, write):
        os.close(read)
        output = StandardOutput(write, wait=3600)
        assert fail(output) == errno.EPIPE
        output.close()


def test_a_pipe_that_another_user_made_is_written_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with a_pipe() as (read, write):
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refuse)
            output = StandardOutput(write, wait=0)
        assert os.get_blocking(output._file)
        output.write(LINE)
        assert read_all(read) == LINE
        fill(write, 0)
        assert fail(output) == errno.EAGAIN, "and never waited for by the write itself"
        output.close()


def test_others_of_the_same_pipe_go_on_waiting_as_they_did() -> None:
    with a_pipe() as (_, write):
        output = StandardOutput(write)
        assert os.get_blocking(write)
        output.close()


def test_a_file_takes_lines_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    for flags in (os.O_APPEND, os.O_TRUNC):
        path.write_bytes(b"before\n")
        file = os.open(path, os.O_WRONLY | flags)
        output = StandardOutput(file)
        output.write(LINE * 10_000)
        output.close()
        os.close(file)
        assert path.read_bytes() == (b"before\n" if flags == os.O_APPEND else b"") + LINE * 10_000


def test_a_full_device_is_an_error_with_its_number() -> None:
    file = os.open("/dev/full", os.O_WRONLY)
    output = StandardOutput(file)
    assert [fail(output) for _ in range(2)] == [errno.ENOSPC] * 2
    output.close()
    os.close(file)


def test_nothing_at_all_takes_everything() -> None:
    file = os.open(os.devnull, os.O_WRONLY)
    output = StandardOutput(file)
    output.write(LINE * 10_000)
    output.close()
    os.close(file)


# At the start.


def test_what_cannot_be_written_is_told_with_the_mend(tmp_path: Path) -> None:
    reading = os.open(os.devnull, os.O_RDONLY)
    with a_pipe() as (read, _):
        for file in (reading, read, 9999):
            with pytest.raises(
                UsageError, match=r"^The ledger cannot be written to standard output: .+ with --ledger\.$"
            ):
                StandardOutput(file)
    os.close(reading)


def run(code: str, *, closed: bool = False) -> subprocess.CompletedProcess[str]:
    script = (
        f"import sys\nfrom proxy.oplog import configure_log\nfrom proxy.ledger.stdout import StandardOutput\n{code}"
    )
    command = (
        ["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, script] if closed else [sys.executable, "-c", script]
    )
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_standard_output_is_for_lines_alone_and_its_limits_are_told_on_standard_error() -> None:
    done = run("""
import os, subprocess
configure_log("info")
print("before")
output = StandardOutput.take()
output.write(b"a line\\n")
print("printed", flush=True)
subprocess.run(["echo", "of a child"], check=True)
output.close()
print("after")
""")
    assert (done.stdout, done.returncode) == ("before\na line\nafter\n", 0), done.stderr
    assert "printed\n" in done.stderr
    assert "of a child\n" in done.stderr
    assert LIMITS in done.stderr


def test_standard_output_that_is_closed_is_told() -> None:
    done = run(
        """
from proxy.errors import UsageError
try:
    StandardOutput.take()
except UsageError as error:
    sys.stderr.write(str(error))
""",
        closed=True,
    )
    assert done.stderr.startswith("The ledger cannot be written to standard output: it is closed.")
