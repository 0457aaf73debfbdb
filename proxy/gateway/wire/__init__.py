# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as bytes, both ways: pure codecs that know nothing of sockets, time or policy.

- ``grammar``: field lines and the fields that frame a body, and the limits.
- ``heads``: the head of a request, and of an answer, once it is whole.
- ``bodies``: a body on its way in, in any pieces.
- ``render``: heads and chunks on their way out, made from values, never from bytes received.
- ``strictness``: what of all this is accepted and what is refused, row by row, with the RFC's sentence.

One reading only: where two servers have been known to read the same bytes differently, they are refused.
"""
