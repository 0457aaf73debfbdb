# SPDX-License-Identifier: Apache-2.0
"""May they: facts become a decision.

``attributes`` is the closed set of what a rule can ask about, ``matchers`` what it can ask, ``rules`` the schema of
the register, ``compile`` turns rules into tests at load, ``evaluate`` decides, ``explain`` shows how. The room does
not know how a fact was found out.
"""
