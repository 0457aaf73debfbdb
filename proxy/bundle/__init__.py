# SPDX-License-Identifier: Apache-2.0
"""The policy folder as one value: read, checked across all registers, and put together.

A bundle loads whole or not at all; every problem of the whole folder is told at once, each with its place.
``read`` turns files into plain values with positions, ``gather`` sorts them into registers, ``manifest``, ``apis``
and ``cases`` own the schemas that no room owns, ``check`` applies all of them, ``snapshot`` is the result.
"""
