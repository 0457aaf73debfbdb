# SPDX-License-Identifier: Apache-2.0
"""Settings of this room."""

from pydantic import BaseModel


class AdminOptions(BaseModel):
    """Where operators look."""

    admin: str = "127.0.0.1:9090"
    """Address and port of the admin listener; loopback unless told. Port 0 takes a free one."""
