# SPDX-License-Identifier: Apache-2.0
"""Content codings (RFC 9110 8.4.1): a body is decoded to be looked into, and may be coded again.

- At most ``PART_BYTES`` of what a coded body expands to exist at a time, however much that is.
- A body is read whole or not at all: what follows its end, or an end that is missing, breaks it.
- Members of gzip (RFC 1952 2.2) and frames of zstd (RFC 8878 3) one after the other are one body, as their formats
  say. ``deflate`` is the zlib format (RFC 9110 8.4.1.2), never the raw one that some servers send under that name.
- A window takes at most 8 MiB for zstd (RFC 9659 3) and 16 MiB for brotli (RFC 7932 9.1); there are no dictionaries.
"""

import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

import brotli

from proxy.model.decision import Reason
from proxy.model.filtering import AnswerRefusedError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

IDENTITY: Final = "identity"
PART_BYTES: Final = 64 * 1024
"""The most that a decoder hands out at once."""
UNSUSPECTED_BYTES: Final = 1024 * 1024
"""Up to here a body may expand as much as it likes: rows that repeat themselves do."""

_SLICE_BYTES: Final = 16 * 1024
"""What is given to a library at once. It copies what it has not taken yet each time that it has put out a part."""
_BROTLI_PART_BYTES: Final = 32_752
"""The first of its buffers. It puts out whole buffers, of which each is larger than the last, beyond any limit."""
_ZSTD_WINDOW_LOG: Final = 23
_ZSTD_HEAD_BYTES: Final = 18
"""RFC 8878 3.1.1: the longest header of a frame, with its magic number."""
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
"""As zlib has it: with the header and the check sum of gzip."""
_ZLIB_WINDOW: Final = zlib.MAX_WBITS


class Decoder(Protocol):
    """Decodes a body in parts."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take more of the body, and return what it decodes to, part by part, as it is asked for.

        All of it is to be asked for before more is taken.

        Raises:
            AnswerRefusedError: while the parts are asked for: it is not coded as it says, or expands too much.
        """
        ...

    def end(self) -> None:
        """Take the end of the body.

        Raises:
            AnswerRefusedError: it is not whole.
        """
        ...


class Encoder(Protocol):
    """Encodes a body in parts."""

    def encode(self, data: bytes) -> bytes:
        """Take more of the body, and return what can leave of it."""
        ...

    def end(self) -> bytes:
        """Return the rest."""
        ...


class _Plain:
    """Reads a body without coding."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        return iter((data,) if data else ())  # they exist anyway: however large, they are one part

    def end(self) -> None:
        """Any end will do."""


class _Verbatim:
    """Writes a body without coding."""

    def encode(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


class _Expander(Protocol):
    """One library's way to decode, a part at a time."""

    is_holding: bool
    """Whether there may be more to put out, or to read, before it takes more."""
    is_whole: bool
    """Whether the body may end here."""

    def expand(self, data: bytes) -> bytes:
        """Take data, none while it is holding, and return a part of what they decode to."""
        ...


class _Zlib:
    """gzip and deflate.

    Args:
        window: tells zlib which.
        repeats: whether members may follow one another.
    """

    is_holding = False
    is_whole = False

    def __init__(self, window: int, *, repeats: bool) -> None:
        self._window = window
        self._repeats = repeats
        self._member = zlib.decompressobj(window)
        self._rest = b""

    def expand(self, data: bytes) -> bytes:
        if self._member.eof:
            if not self._repeats:
                raise zlib.error("data behind the end")
            self._member = zlib.decompressobj(self._window)
        part = self._member.decompress(self._rest or data, PART_BYTES)
        self._rest = self._member.unconsumed_tail or self._member.unused_data
        self.is_whole = self._member.eof and not self._rest
        self.is_holding = bool(self._rest) or (len(part) == PART_BYTES and not self.is_whole)
        return part


class _Zstd:
    """zstd. What a frame says of its size is checked here: the library does so only if the frame comes in one part."""

    is_holding = False
    is_whole = False

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._frame = _open_frame()
        self._rest = b""
        self._head = b""
        self._decoded = 0

    def expand(self, data: bytes) -> bytes:
        taken = self._rest or data
        if self._frame.eof:
            self._begin()
        self._head += taken[: _ZSTD_HEAD_BYTES - len(self._head)]
        part = self._frame.decompress(taken, PART_BYTES)
        self._decoded += len(part)
        if self._frame.eof and zstd.get_frame_info(self._head).decompressed_size not in {None, self._decoded}:
            raise zstd.ZstdError("another size than the frame says")
        self._rest = self._frame.unused_data
        self.is_whole = self._frame.eof and not self._rest
        self.is_holding = bool(self._rest) or not (self._frame.eof or self._frame.needs_input)
        return part


def _open_frame() -> zstd.ZstdDecompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})


class _Brotli:
    is_holding = False
    is_whole = False

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def expand(self, data: bytes) -> bytes:
        part: bytes = self._stream.process(data, output_buffer_limit=_BROTLI_PART_BYTES)
        self.is_whole = self._stream.is_finished()
        # It takes all of the input and still has something to put out: only an empty part says that it has not.
        self.is_holding = not self.is_whole and (bool(part) or not self._stream.can_accept_more_data())
        return part


class _Coded:
    """Decodes a body.

    Args:
        expander: decodes.
        max_ratio: how many times its own length it may expand to, beyond ``UNSUSPECTED_BYTES``.
    """

    def __init__(self, expander: _Expander, max_ratio: int) -> None:
        self._expander = expander
        self._max_ratio = max_ratio
        self._waiting: deque[bytes] = deque()
        self._coded = 0
        self._decoded = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._coded += len(data)
        self._waiting.extend(data[at : at + _SLICE_BYTES] for at in range(0, len(data), _SLICE_BYTES))
        return self._expand()

    def end(self) -> None:
        if self._waiting or self._expander.is_holding or not self._expander.is_whole:
            raise AnswerRefusedError(Reason.ANSWER_CODING_BROKEN)

    def _expand(self) -> Iterator[bytes]:
        expander = self._expander
        while expander.is_holding or self._waiting:
            data = b"" if expander.is_holding else self._waiting.popleft()
            try:
                part = expander.expand(data)
            except _ERRORS as error:
                raise AnswerRefusedError(Reason.ANSWER_CODING_BROKEN) from error
            self._decoded += len(part)
            if self._decoded > UNSUSPECTED_BYTES and self._decoded > self._max_ratio * self._coded:
                raise AnswerRefusedError(Reason.ANSWER_EXPANDS_TOO_MUCH)
            if part:
                yield part


_ERRORS: Final = (zlib.error, zstd.ZstdError, brotli.error)


class _Compressor(Protocol):
    """What the libraries' own have in common, once they are adapted."""

    def compress(self, data: bytes) -> bytes: ...

    def flush(self) -> bytes:
        """Return what is held back, so that all data so far can be decoded."""
        ...

    def finish(self) -> bytes: ...


class _Deflating:
    def __init__(self, window: int) -> None:
        self._stream = zlib.compressobj(_ZLIB_LEVEL, zlib.DEFLATED, window)
        self.compress = self._stream.compress

    def flush(self) -> bytes:
        return self._stream.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._stream.flush(zlib.Z_FINISH)


class _Zstandard:
    def __init__(self) -> None:
        level, window = zstd.CompressionParameter.compression_level, zstd.CompressionParameter.window_log
        self._stream = zstd.ZstdCompressor(options={level: _ZSTD_LEVEL, window: _WINDOW_LOG})

    def compress(self, data: bytes) -> bytes:
        return self._stream.compress(data)

    def flush(self) -> bytes:
        return self._stream.flush(zstd.ZstdCompressor.FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._stream.flush(zstd.ZstdCompressor.FLUSH_FRAME)


class _Brotlifying:
    def __init__(self) -> None:
        stream = brotli.Compressor(mode=brotli.MODE_TEXT, quality=_BROTLI_QUALITY, lgwin=_WINDOW_LOG)
        self.compress: Callable[[bytes], bytes] = stream.process
        self.flush: Callable[[], bytes] = stream.flush
        self.finish: Callable[[], bytes] = stream.finish


_ZLIB_LEVEL: Final = 4
_ZSTD_LEVEL: Final = 3
_BROTLI_QUALITY: Final = 3
"""Levels at which each takes about a microsecond for 100 bytes of JSON, or less."""
_WINDOW_LOG: Final = 18
"""256 KiB, so that an encoder takes about a MiB of memory: many may be open at once."""


class _Coding:
    """Encodes a body.

    Args:
        compressor: encodes.
        flushes: whether all that was taken leaves at once: a reader waits for it.
    """

    def __init__(self, compressor: _Compressor, *, flushes: bool) -> None:
        self._compressor = compressor
        self._flushes = flushes

    def encode(self, data: bytes) -> bytes:
        if not data:
            return b""
        made = self._compressor.compress(data)
        return made + self._compressor.flush() if self._flushes else made

    def end(self) -> bytes:
        return self._compressor.finish()


_EXPANDERS: Final[Mapping[str, Callable[[], _Expander]]] = {
    "zstd": _Zstd,
    "br": _Brotli,
    "gzip": lambda: _Zlib(_GZIP_WINDOW, repeats=True),
    "deflate": lambda: _Zlib(_ZLIB_WINDOW, repeats=False),
}
_COMPRESSORS: Final[Mapping[str, Callable[[], _Compressor]]] = {
    "zstd": _Zstandard,
    "br": _Brotlifying,
    "gzip": lambda: _Deflating(_GZIP_WINDOW),
    "deflate": lambda: _Deflating(_ZLIB_WINDOW),
}
CODINGS: Final = tuple(_EXPANDERS)
"""Those that are read and written, best first."""
ALIASES: Final[Mapping[str, str]] = {"x-gzip": "gzip"}
"""RFC 9110 8.4.1.3."""


def find_coding(values: tuple[str, ...]) -> str | Reason:
    """Return the coding that the ``Content-Encoding`` fields of an answer name.

    Args:
        values: of the fields, as the API sent them. None, or ``identity``, is no coding.
    """
    if not values:
        return IDENTITY
    name = values[0].strip(" \t").lower()
    name = ALIASES.get(name, name)
    is_read = len(values) == 1 and (name == IDENTITY or name in _EXPANDERS)  # several in one value are no name
    return name if is_read else Reason.ANSWER_CODING_UNSUPPORTED


def make_decoder(coding: str, max_ratio: int) -> Decoder:
    """Return what decodes a body.

    Args:
        coding: as ``find_coding`` returns it.
        max_ratio: how many times its own length the body may expand to, beyond ``UNSUSPECTED_BYTES``.
    """
    return _Plain() if coding == IDENTITY else _Coded(_EXPANDERS[coding](), max_ratio)


def make_encoder(coding: str, *, flushes: bool) -> Encoder:
    """Return what encodes a body.

    Args:
        coding: one of ``CODINGS``, or ``identity``.
        flushes: whether what is encoded leaves at once, rather than when a block is full.
    """
    return _Verbatim() if coding == IDENTITY else _Coding(_COMPRESSORS[coding](), flushes=flushes)
