# SPDX-License-Identifier: Apache-2.0
"""How much callers read, counted over windows that slide: in this process, or in a Redis that many share.

- A count is the number of distinct members (data subjects, requests) seen in the window, the request at hand included.
- It is never less than the truth, as far as rules tell numbers apart; where nobody can tell, it is not a number.
- Nobody is named: callers and subjects come as keyed hashes.

What a count decides is not known here: ``policy`` says what is to be counted, ``pipeline.counting`` when.
"""
