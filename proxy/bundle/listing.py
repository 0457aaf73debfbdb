# SPDX-License-Identifier: Apache-2.0
"""Which files lie in a policy folder, as somebody who looks into it sees them. This module does I/O.

What begins with a dot is out of sight: an editor's, a version control's, and where Kubernetes keeps what its links
lead to. So a link to a folder is followed, as long as it stays inside: of a ConfigMap with folders (``rules ->
..data/rules``) nothing else is to be seen. Each folder is looked into once, under its own name where that is in sight.
"""

import os
from collections.abc import Iterator
from pathlib import Path


def list_visible(folder: Path) -> Iterator[Path]:
    """Return the files below a folder, by their paths in it.

    A folder that cannot be read holds none.
    """
    root = Path(os.path.realpath(folder))
    seen = {root}
    places = [Path()]
    links: list[Path] = []
    while places or links:
        place = places.pop() if places else _take(root, links, seen)
        if place is None:
            continue
        for name in _list_names(root / place):
            path = root / place / name
            if path.is_symlink() and path.is_dir():
                links.append(place / name)
            elif path.is_dir():
                seen.add(Path(os.path.realpath(path)))
                places.append(place / name)
            elif path.is_file():
                yield place / name


def _take(root: Path, links: list[Path], seen: set[Path]) -> Path | None:
    """Take one link to a folder; None where that leads out, or to what was looked into."""
    link = links.pop()
    real = Path(os.path.realpath(root / link))
    if real in seen or not real.is_relative_to(root):
        return None
    seen.add(real)
    return link


def _list_names(place: Path) -> list[str]:
    try:
        return sorted((path.name for path in place.iterdir() if not path.name.startswith(".")), reverse=True)
    except OSError:
        return []
