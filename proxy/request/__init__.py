# SPDX-License-Identifier: Apache-2.0
"""What is asked: bytes become one canonical request and one declared route, or a reason why not.

``target`` holds the table of what a request target may look like, ``headers`` the table of what happens to each
header field, ``catalog`` the declared routes.
"""
