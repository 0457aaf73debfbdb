# SPDX-License-Identifier: Apache-2.0
"""Volumes as the kubelet makes them of ConfigMaps, Secrets and projections of them.

After ``AtomicWriter`` of Kubernetes (pkg/volume/util/atomic_writer.go): what the volume holds lies in a dated folder,
``..data`` is a link to that, and each first part of a path is a link into ``..data``. For new content there is a new
dated folder, and one rename puts ``..data`` on it; then links are made for new names, those of names that are gone are
removed, and so is the old dated folder.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

_DATA: Final = "..data"
FOLDER_MODE: Final = 0o755
FILE_MODE: Final = 0o644


class MountedVolume:
    """One such volume.

    Args:
        place: where it is mounted; made if it is not there.
        mode: of its files.
        group: whose they are, beside root's: ``fsGroup``.
    """

    def __init__(self, place: Path, *, mode: int = FILE_MODE, group: int | None = None) -> None:
        self.place = place
        self._mode = mode
        self._group = group
        self._version = 0
        place.mkdir(parents=True, exist_ok=True)
        self._own(place, FOLDER_MODE)

    def write(self, files: Mapping[str, bytes]) -> None:
        """Put other content there, by path, all at once."""
        self._version += 1
        dated = self.place / f"..2026_11_22_00_00_00.{self._version:09}"
        dated.mkdir()
        self._own(dated, FOLDER_MODE)
        for name, data in files.items():
            self._write_file(dated, PurePosixPath(name), data)
        link = self.place / _DATA
        before = link.readlink() if link.is_symlink() else None
        new = self.place / "..data_tmp"
        new.symlink_to(dated.name)
        new.replace(link)
        self._show({PurePosixPath(name).parts[0] for name in files})
        if before is not None:
            shutil.rmtree(self.place / before)

    def _write_file(self, dated: Path, name: PurePosixPath, data: bytes) -> None:
        place = dated
        for part in name.parts[:-1]:
            place /= part
            place.mkdir(exist_ok=True)
            self._own(place, FOLDER_MODE)
        file = place / name.name
        file.write_bytes(data)
        self._own(file, self._mode)

    def _show(self, names: set[str]) -> None:
        """Have a link for each name, and for no other."""
        for name in names:
            if not (self.place / name).is_symlink():
                (self.place / name).symlink_to(f"{_DATA}/{name}")
        for entry in self.place.iterdir():
            if not entry.name.startswith("..") and entry.name not in names:
                entry.unlink()

    def _own(self, path: Path, mode: int) -> None:
        if self._group is not None and os.getuid() == 0:
            os.chown(path, 0, self._group)
        path.chmod(mode)
