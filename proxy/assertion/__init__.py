# SPDX-License-Identifier: Apache-2.0
"""The signed decision: an API is told, so that it can check it, that a request was decided here, and on whom.

``keys`` is the ring of keys that sign, ``key_file`` its file, ``held`` what one process holds of it, ``assertions``
what is signed. docs/assertion.md is for those who verify.
"""
