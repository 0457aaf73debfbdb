# SPDX-License-Identifier: Apache-2.0
"""The gateways that are compared, one file each: a generated configuration and what runs it.

- Every contender runs one worker on one core, keeps its upstream connections open, listens on loopback.
- `nginx` is the upstream API, and a plain proxy that marks the floor: no duty at all.
- `haproxy` and `envoy` carry the same duties, each in its own best way: token, rules, GeoIP, log.
- `naive` is a straightforward proxy on aiohttp that verifies the token and does nothing else.
- `sekisho` is our own gateway.
"""
