# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: each is a module with a command, `python -m bench.NAME [--json]`.

- `harness` is the only timer: paired rounds, CPU clocks, figures, targets, tables.
- `processes` starts, pins, watches and stops what is measured; `load` drives it with h2load.
- `contenders/` has one file per gateway; `duties` proves that each does its work before it is timed.
- `edge` compares the gateways on a small GET.
- `identity` makes tokens, `countries` the GeoIP data, `setting` names what every contender is given.

Traffic goes to loopback only. Nothing here is imported by `proxy/`.
"""
