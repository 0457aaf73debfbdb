# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.model.secret import Secret

READ: TypeAdapter[Any] = TypeAdapter(Secret)


@pytest.mark.parametrize("reference", ["env:IDP_SECRET", "env:_x1", "file:/run/secrets/idp", "file:/a b"])
def test_a_reference_is_taken(reference: str) -> None:
    assert READ.validate_python({"secret": reference}).secret == reference


REFUSED: dict[str, Any] = {
    "a literal": "hunter2",
    "a literal inside": {"secret": "hunter2"},
    "a number": {"secret": "12345"},
    "nothing": {},
    "an empty name": {"secret": "env:"},
    "a name that the environment has none of": {"secret": "env:A-B"},
    "a name that begins with a digit": {"secret": "env:1A"},
    "a relative path": {"secret": "file:secrets/idp"},
    "no path": {"secret": "file:"},
    "a path with a zero byte": {"secret": "file:/a\0b"},
    "another place": {"secret": "vault:idp"},
    "a list": ["env:A"],
    "two references": {"secret": "env:A", "other": "env:B"},
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_a_secret_is_refused_that_is(raw: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        READ.validate_python(raw)
    assert "hunter2" not in caught.value.errors()[0]["msg"]
