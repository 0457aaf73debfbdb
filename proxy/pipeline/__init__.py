# SPDX-License-Identifier: Apache-2.0
"""The one flow: what happens to a request, in order, as one synchronous value that a driver feeds."""
