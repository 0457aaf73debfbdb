# SPDX-License-Identifier: Apache-2.0
"""Where things stand in the answers of a route: its declared paths, followed from the top all at once.

What a denial takes away is a **unit**: the element of the innermost ``[*]`` of the records' path that the record stands
in, so that no husk is left of it (of ``$.edges[*].node`` the whole edge); without any ``[*]`` the whole document.
"""

from collections.abc import Iterable
from typing import Final, TypeAlias

from proxy.model.inspection import Field, Inspection, Member
from proxy.model.json_path import EVERY, JsonPath, Step


class Mark:
    """What is no declared value, but stands somewhere."""

    __slots__ = ()


UNIT: Final = Mark()
RECORD: Final = Mark()
Target: TypeAlias = Mark | Field | Member
_Ahead: TypeAlias = tuple[JsonPath, Target]


class Place:
    """Something that an answer may hold.

    Args:
        ahead: what lies there, and by which further steps.
    """

    __slots__ = ("is_record", "is_unit", "leads_to_records", "leaf", "names", "needed", "others")

    def __init__(self, ahead: tuple[_Ahead, ...]) -> None:
        here = [target for path, target in ahead if not path]
        self.is_unit = UNIT in here
        self.is_record = RECORD in here
        self.leads_to_records = any(path and target is RECORD for path, target in ahead)
        """Whether the records stand further down."""
        steps = [path[0] for path, target in ahead if path and target is RECORD]
        self.needed = next((step for step in steps if isinstance(step, str)), None)
        """The name that the way to the records goes on by; None where it goes by any."""
        if self.is_record:  # within a record its fields alone are declared
            ahead = tuple(each for each in ahead if isinstance(each[1], Field))
            here = [target for path, target in ahead if not path]
        leaves = [target for target in here if isinstance(target, Field | Member)]
        self.leaf: Field | Member | None = leaves[0] if leaves and not self.leads_to_records else None
        """Declared as a value: a scalar, or a list of scalars. Whatever else stands here is undeclared."""
        further = [(path[0], path[1:], target) for path, target in ahead if path]
        self.names: dict[str, Place] = {
            step: Place(_follow(further, step)) for step, _, _ in further if isinstance(step, str)
        }
        """Members of an object that are declared by name."""
        every = _follow(further, EVERY)
        self.others: Place | None = Place(every) if every else None
        """Its other members, and the elements of an array."""


def _follow(further: Iterable[tuple[Step, JsonPath, Target]], step: Step) -> tuple[_Ahead, ...]:
    """Return what lies ahead after a step; a wildcard takes it, too."""
    return tuple((rest, target) for taken, rest, target in further if taken in {step, EVERY})


def locate(inspection: Inspection) -> Place:
    """Return the document."""
    records = inspection.records
    return Place(
        (
            (records[: unit_steps(records)], UNIT),
            (records, RECORD),
            *((records + field.path, field) for field in inspection.fields),
            *((member.path, member) for member in inspection.members),
        )
    )


def unit_steps(records: JsonPath) -> int:
    """Return how many steps lead to the units."""
    return max((at for at, step in enumerate(records, start=1) if step is EVERY), default=0)


def find_unit(root: Place, records: JsonPath) -> Place:
    """Return the place of the units that no name sets apart from the others."""
    place = root
    for step in records[: unit_steps(records)]:
        further = place.others if step is EVERY else place.names.get(str(step))
        if further is None:
            raise ValueError("the records are not where they are")
        place = further
    return place
