# SPDX-License-Identifier: Apache-2.0
"""The operator's listener: probes and metrics, on a socket of its own."""
