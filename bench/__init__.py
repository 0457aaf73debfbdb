# SPDX-License-Identifier: Apache-2.0
"""Measurements. ``bench.harness`` is the only timer of the project."""
