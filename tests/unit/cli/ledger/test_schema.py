# SPDX-License-Identifier: Apache-2.0
import argparse
import json

import pytest

from proxy.cli.ledger.schema import configure
from proxy.ledger.json_schema import make_schema


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    configure(parser)
    options = parser.parse_args([])
    assert options.run(options) == 0
    assert json.loads(capsys.readouterr().out) == make_schema()
