# SPDX-License-Identifier: Apache-2.0
"""What we record: lines of JSON, in the kernel before anything leaves.

``record`` makes lines of outcomes and is where the rules on what may never be written live, ``pseudonym`` the
keyed names of people, ``writer`` alone does I/O.
"""
