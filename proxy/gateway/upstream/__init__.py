# SPDX-License-Identifier: Apache-2.0
"""The side of the API: requests go out, and every way in which that can fail becomes one of our reasons.

- ``exchange``: what is asked, and who is told of the answer.
- ``handle``: what whoever asked may still do about it.
- ``connection``: one connection, and one exchange at a time on it.
- ``pool``: the connections to one API: kept, bounded, waited for, given up.
- ``health``: whether connecting is worth while.
- ``dial``: how a connection is made: addresses, TCP or a Unix socket, TLS.
- ``tls``: which server is believed to be the API, and what we show it.
- ``upstreams``: all of them.
- ``asking``: whether an API says that it is healthy, for who probes it through us.

What holds everywhere here:

- **Sent once.** A request that a byte was written of is never sent again. What is tried again is connecting.
- **No doubt is reused.** A connection carries another exchange only where the last one was whole both ways, its answer
  ended where its framing says, and nothing has arrived since.
- **Nobody hears of another's exchange.** An exchange is let go of before its last call, so that nothing which that
  call sets off can find it on the connection.
- On the path of a kept connection nothing is awaited, and there is no task, future or timer for a request.
"""
