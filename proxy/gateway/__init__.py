# SPDX-License-Identifier: Apache-2.0
"""HTTP both ways: bytes become a passage, and what it says becomes bytes.

- ``wire``: bytes to heads and bodies, and back. Pure, and the table of what is accepted.
- ``connection``: one caller's connection. ``crossing``: one request under way, which drives its passage.
- ``upstream``: connections to the APIs.
- ``gateway``: what all of them share. ``limits``, ``ticker``: how much at once, and how long.
- ``problem``: what is said in a refusal. ``tls``, ``proxied``: how a connection begins.

Nothing here decides.
"""
