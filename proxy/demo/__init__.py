# SPDX-License-Identifier: Apache-2.0
"""The sample API, the issuers and the story that ``sekisho demo`` plays: everything real, everything on loopback."""
