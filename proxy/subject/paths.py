# SPDX-License-Identifier: Apache-2.0
"""JSONPath (RFC 9535) in bodies of requests."""


class BodyPath:
    """A compiled path."""


def compile_selector(text: str) -> BodyPath:
    """Return a path; ValueError with a sentence if the text is none that may find subjects."""
    raise NotImplementedError
