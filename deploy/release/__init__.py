# SPDX-License-Identifier: Apache-2.0
"""What a release consists of, made from the last commit alone: the same bytes whoever makes it, and wherever."""
