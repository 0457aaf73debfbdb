# SPDX-License-Identifier: Apache-2.0
"""A bundle's life outside a request: its own tests, and what explains a decision."""
