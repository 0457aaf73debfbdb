# SPDX-License-Identifier: Apache-2.0
"""Sekisho: the checkpoint in front of internal APIs that hold personal data.

One request, five questions, one room each::

     caller ──HTTP──▶ gateway ──▶ pipeline ───────────────────▶ gateway ──HTTP──▶ personal-data API
                                   request/  what is asked?
                                   caller/   who asks, and who owns whom they work for?
                                   origin/   from where?
                                   subject/  whose data?
                                   policy/   may they?
                                   ledger/   what was decided, durable before it is acted on

The rooms stand in one order, and imports run along it only (tests/architecture holds them to it)::

    model, errors, clock ← counting ← telemetry ← request, caller, origin, subject, policy, ledger, assertion
    ← bundle ← pipeline ← lifecycle, gateway, admin ← settings, wiring ← supervisor ← demo, cli

- ``model`` is the vocabulary: frozen values that everything else speaks.
- Everything that decides is pure: no clock, no I/O, no logging, no ``async``. The modules that do I/O are
  named in one test.
- ``pipeline.Passage`` is one request's way through, driven by ``gateway``.
- A "no" is a value with a reason; an exception means "could not decide" and becomes a deny.

This file imports nothing.
"""
