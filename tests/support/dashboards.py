# SPDX-License-Identifier: Apache-2.0
"""The shipped dashboards as a test reads them: panels, and their questions as Grafana would send them."""

import json
from typing import Any, Final

import msgspec

from deploy.validation.grafana import read_panels, set_variables
from tests.support.watch import DEPLOY

DASHBOARDS: Final = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
WINDOW: Final = "1h"
"""Longer than any test: a window that holds all of it."""
_WINDOWS: Final = dict.fromkeys(("__interval", "__range", "__rate_interval"), WINDOW)


class ShownPanel(msgspec.Struct, frozen=True):
    """A panel of a dashboard."""

    board: str
    """The dashboard's uid."""
    title: str
    content: dict[str, Any]

    def queries(self, instance: str = ".*") -> list[str]:
        """Return its questions with Grafana's variables set: all that is there, of some gateways."""
        values = {"job": "sekisho", "instance": instance, "affiliate": ".*", **_WINDOWS}
        return [set_variables(target["expr"], values) for target in self.content["targets"]]


def read_shown() -> list[ShownPanel]:
    """Return every panel of every dashboard."""
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in DASHBOARDS]
    return [ShownPanel(board["uid"], panel["title"], panel) for board in boards for panel in read_panels(board)]
