# SPDX-License-Identifier: Apache-2.0
"""Several processes that take requests, under one that takes none.

The supervisor binds the address, loads the policy folder and watches it, has an admin listener, and starts workers.
A worker is a gateway as ``wiring`` makes it, with what is in force handed to it. Between them lies one pair of
connected Unix sockets each::

    supervisor ──Job, Prepare, Commit, Abort, Accept, Look, Renew, Stop──▶ worker
               ◀──────────────Done, Seen, Last─────────────────────────────

- **One digest or none**: every worker takes a bundle over and says so before the first puts it in force (``swap``).
- **No connection is lost** where a worker is replaced: the sockets that listen are the supervisor's (``gates``), each
  worker accepts on its own, and another one takes over before a worker lets go (``balance``).
- **No orphans**: a worker whose channel ends, ends.
"""
