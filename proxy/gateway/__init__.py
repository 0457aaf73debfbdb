# SPDX-License-Identifier: Apache-2.0
"""HTTP both ways: drives one passage per request.

``server`` is the side of the caller, ``upstream`` that of the API, ``problem`` what is said in a refusal. Nothing
here decides.
"""
