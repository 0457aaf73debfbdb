# SPDX-License-Identifier: Apache-2.0
"""The vocabulary: frozen values that every room speaks. Nothing here decides, and nothing here does I/O."""
