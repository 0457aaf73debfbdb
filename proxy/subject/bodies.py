# SPDX-License-Identifier: Apache-2.0
"""The body of a request, read for the subjects in it: as JSON or as a form, in the one way that every reader agrees on.

What passes goes to the API as the bytes that came, so whatever two readers could take differently is refused: repeated
names, NaN, a byte order mark, other encodings than UTF-8, half surrogates.
"""

from typing import Any

import msgspec

from proxy.model.api import SubjectSource
from proxy.model.decision import Reason
from proxy.model.query import Query


class Body(msgspec.Struct, frozen=True):
    """A body that was read: a document, or a form."""

    document: Any = None
    form: Query | None = None
    """None where it is a document."""


def read_body(
    content_type: str | None, content_encoding: str | None, data: bytes, source: SubjectSource
) -> Body | Reason:
    """Return what a body says, or why it says nothing that is sure.

    Args:
        content_type: the field's value; None where there is none.
        content_encoding: likewise.
        data: all of the body.
        source: what is sought in it.
    """
    raise NotImplementedError
