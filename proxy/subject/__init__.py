# SPDX-License-Identifier: Apache-2.0
"""Whose data: the data subject of a request, and where the country came from."""
