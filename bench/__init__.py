# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: each is a module with a command, `python -m bench.NAME [--json]`.

- `harness` is the only timer: paired rounds, CPU clocks, figures, targets, tables.
- `processes` starts, pins, watches and stops what is measured; `load` drives it with h2load.
- `contenders/` has one file per gateway; `duties` proves that each does its work before it is timed.
- `edge` compares the gateways: `workloads` says on what, `races` times them, `latency`, `idle`, `starts` and `growth`
  look at the rest; `findings` makes figures, targets and tables of it, `page` and `chart` docs/benchmarks.md.
- `callers` is a load of our own, for many callers, where every request differs.
- `soak` drives Sekisho for an hour through every fault of callers and API, and looks what is left behind.
- `identity` makes tokens, `certificate` one for TLS, `countries` the GeoIP data, `answers` what the API says, `setting`
  names what every contender is given.

Traffic goes to loopback only. Nothing here is imported by `proxy/`.
"""
