# SPDX-License-Identifier: Apache-2.0
"""Who asks: a token becomes a caller, with an affiliate, its owners, and every country it is tied to.

``issuers`` and ``affiliates`` own the schemas of their registers; ``tokens`` is the law of bearer tokens, ``keys``
that of key sets, ``ownership`` the graph of who controls whom; ``resolve`` puts them together. ``jwks`` alone does
I/O. The room does not know what a caller may do.
"""
