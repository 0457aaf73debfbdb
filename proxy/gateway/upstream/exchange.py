# SPDX-License-Identifier: Apache-2.0
"""What is asked of an API, and who is told of its answer."""

from typing import Final, Protocol

import msgspec

from proxy.gateway.wire.heads import ResponseFrame
from proxy.model.decision import Reason


class UpstreamRequest(msgspec.Struct, frozen=True):
    """A request as it goes out; its body follows in parts."""

    method: str
    target: str
    """In ASCII, as it was matched."""
    fields: bytes
    """Complete field lines, each ended by CRLF, without any that frame a body or speak of the connection."""
    length: int | None
    """Of the body; None where there is none, or it goes out in chunks."""
    is_chunked: bool
    upgrade: str = ""
    """The protocol to switch to, in lower case; empty for none."""


class Exchange(Protocol):
    """Whoever asked. Calls come in the order in which they stand here, and never while ``begin`` is under way.

    From within any of them everything may be done with the handle, and another exchange may begin. The last call is
    ``upstream_answered`` with the whole answer, ``upstream_ended`` or ``upstream_failed``; none follows ``cancel``.
    """

    def upstream_ready(self) -> None:
        """Give parts of the body from now on: the head is written. Only where there is a body."""
        ...

    def pause_upload(self) -> None:
        """Stop giving parts: the API reads slowly."""
        ...

    def resume_upload(self) -> None:
        """Go on giving parts."""
        ...

    def upstream_answered(self, frame: ResponseFrame, body: bytes, is_whole: bool) -> None:  # noqa: FBT001
        """Take the head, and what of the body came with it.

        Args:
            frame: the head; never of an interim answer.
            body: its first bytes, without framing; may be empty.
            is_whole: whether that is all of it, and this the last call.
        """
        ...

    def upstream_upgraded(self, frame: ResponseFrame, rest: bytes) -> None:
        """Take the word of the API that the protocol is another from now on.

        Parts that are given go out as they are, ``upstream_sent`` brings what arrives, and ``upstream_ended`` says
        that the API has closed its side.

        Args:
            frame: the head of the answer 101.
            rest: what stood behind it.
        """
        ...

    def upstream_sent(self, data: bytes) -> None:
        """Take more of the body, without its framing."""
        ...

    def upstream_ended(self) -> None:
        """Take note that the body is whole."""
        ...

    def upstream_failed(self, reason: Reason) -> None:
        """Take note that nothing more comes, and why; what came before is not whole."""
        ...


class _Nobody:
    """Whom an exchange is told to that is over."""

    def upstream_ready(self) -> None:
        pass

    def pause_upload(self) -> None:
        pass

    def resume_upload(self) -> None:
        pass

    def upstream_answered(self, frame: ResponseFrame, body: bytes, is_whole: bool) -> None:  # noqa: FBT001
        pass

    def upstream_upgraded(self, frame: ResponseFrame, rest: bytes) -> None:
        pass

    def upstream_sent(self, data: bytes) -> None:
        pass

    def upstream_ended(self) -> None:
        pass

    def upstream_failed(self, reason: Reason) -> None:
        pass


NOBODY: Final[Exchange] = _Nobody()
