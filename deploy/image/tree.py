"""A file tree in memory, and the layer of an image it becomes: the same tree always gives the same bytes.

Times are 0, owners root unless said otherwise, modes 0755 and 0644, entries in the order of their names.
"""

import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class File:
    """A file's content, or where a link leads."""

    content: bytes = b""
    target: str = ""
    executable: bool = False


class Tree:
    """Files by path, without a leading slash; folders come by themselves, or by `folder` with an owner and a mode."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.folders: dict[str, tuple[int, int]] = {}

    def write(self, path: str, content: bytes, *, executable: bool = False) -> None:
        """Add or replace a file."""
        self.files[path] = File(content, "", executable)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self.files[path] = File(b"", target)

    def copy(self, path: str, source: str) -> None:
        """Add a file with the content of another."""
        self.files[path] = self.files[source]

    def folder(self, path: str, *, owner: int = 0, mode: int = 0o755) -> None:
        """Add a folder."""
        self.folders[path] = (owner, mode)

    def remove(self, path: str) -> None:
        """Take a file out."""
        del self.files[path]

    def take(self, folder: Path, under: str) -> None:
        """Add everything below a folder of this machine."""
        for path in sorted(folder.rglob("*")):
            target = f"{under}/{path.relative_to(folder).as_posix()}"
            if path.is_symlink():
                self.link(target, str(path.readlink()))
            elif path.is_file():
                self.write(target, path.read_bytes(), executable=bool(path.stat().st_mode & 0o100))

    def lay(self, folder: Path) -> None:
        """Write the tree below a folder of this machine; with the owners only as root."""
        for path in self._folders():
            place = folder / path
            place.mkdir(parents=True, exist_ok=True)
            if path in self.folders:
                owner, mode = self.folders[path]
                place.chmod(mode)
                if owner and os.geteuid() == 0:
                    os.chown(place, owner, owner)
        for path, file in sorted(self.files.items()):
            place = folder / path
            if file.target:
                place.symlink_to(file.target)
            else:
                place.write_bytes(file.content)
                place.chmod(0o755 if file.executable else 0o644)

    def layer(self) -> bytes:
        """The tree as a tar archive."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
            entries = [(path, None) for path in self._folders()] + list(self.files.items())
            for path, file in sorted(entries):
                info = tarfile.TarInfo(path)
                if file is None:
                    info.type = tarfile.DIRTYPE
                    owner, info.mode = self.folders.get(path, (0, 0o755))
                    info.uid = info.gid = owner
                elif file.target:
                    info.type, info.linkname, info.mode = tarfile.SYMTYPE, file.target, 0o777
                else:
                    info.size, info.mode = len(file.content), 0o755 if file.executable else 0o644
                archive.addfile(info, io.BytesIO(file.content) if file and not file.target else None)
        return out.getvalue()

    def _folders(self) -> list[str]:
        found = set(self.folders)
        for path in (*self.files, *self.folders):
            for parent in list(Path(path).parents)[:-1]:
                found.add(parent.as_posix())
        return sorted(found.difference(self.files))
