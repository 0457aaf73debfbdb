# SPDX-License-Identifier: Apache-2.0
"""What may leave: records dropped and fields transformed, in bodies of JSON while they pass."""
