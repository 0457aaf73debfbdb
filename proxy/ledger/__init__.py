# SPDX-License-Identifier: Apache-2.0
"""What we record: lines of JSON, each a leaf of one Merkle tree, durable before anything leaves.

- What a line says: ``lines`` (the schema), ``record`` (of outcomes), ``pseudonym`` and ``key_ring_*`` (names of
  people), ``flood`` (what is only counted), ``json_schema``, ``ocsf``.
- How lines hang together: ``entry`` (the frame), ``chain``, ``merkle``, ``note``, ``tree_head``, ``proof``.
- Where they go: ``journal`` (as a gateway sees it), ``writer``, ``files`` and ``stdout`` (the sinks), ``segments``,
  ``commit`` (waiting for the disk), ``witness*``, ``archive`` (the bundles beside them), ``opening``.
- Who looks at them: ``verify`` with ``links``, ``course``, ``readings``, ``join``, ``finding``, ``inventory`` and
  ``audit``; ``prove``; ``read``, ``follow``, ``query``, ``resolve``.
"""
