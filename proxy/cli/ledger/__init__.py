# SPDX-License-Identifier: Apache-2.0
"""``sekisho ledger VERB``: what is done with a ledger."""
