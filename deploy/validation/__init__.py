# SPDX-License-Identifier: Apache-2.0
"""``python -m deploy.validation``: every file under ``deploy/`` before the program it is for, or before its schema.

A check names the files that it looks at. A file that none looks at is a problem, and so is one that a check finds
wrong. A check whose program is not on this machine says so, and says how to get it.
"""
