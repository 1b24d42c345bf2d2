"""Debian packages: fetched with apt, unpacked without dpkg.

A package is an `ar` archive whose member data.tar.* holds the files and control.tar.* the description. Only what a
running Python needs is taken; paths below /lib, /bin and /sbin go below /usr, as in a merged Debian root. Nothing of a
package is executed: what ca-certificates' own script would make is made here.
Source: deb(5), and Debian's usrmerge.
"""

import io
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tree import Tree

LEFT_OUT = re.compile(
    r"""
      usr/share/(?!doc/|zoneinfo/|ca-certificates/)      # manuals, translations, bug scripts
    | usr/share/doc/(?![^/]+/copyright$)                 # licences stay
    | usr/share/zoneinfo/(right|posix)/
    | usr/bin/(?!python3)                                # no other program
    | usr/sbin/ | usr/games/ | usr/src/ | usr/include/ | usr/local/ | media/ | mnt/ | srv/ | opt/ | boot/ | home/
    | var/(?!tmp$) | root/ | run/ | proc/ | sys/ | dev/
    | etc/(?!os-release|debian_version|ssl|localtime)
    | usr/lib/[^/]+/(gconv|audit|engines-3|ossl-modules)(/|$)
    | usr/lib/[^/]+/lib(mvec|thread_db|pcprofile|memusage|BrokenLocale|nss_compat|nss_hesiod|nsl|c_malloc_debug)[.-]
    | usr/lib/(mime|valgrind|binfmt\.d|pcrlib|python3)(/|$)
    | usr/lib/python3\.11/(ensurepip|idlelib|tkinter|turtledemo|lib2to3|distutils|pydoc_data|unittest|venv|curses|dbm
                          |wsgiref|xmlrpc|test|__pycache__|site-packages)/
    | usr/lib/python3\.11/(turtle|pydoc|doctest|antigravity|this|imghdr|sndhdr|pdb|smtpd)\.py$
    | usr/lib/python3\.11/lib-dynload/(_curses|_dbm|_gdbm|_tkinter|_crypt|nis|readline|ossaudiodev|_test|_xxtest
                                           |xxlimited)
    | .*\.(a|o)$
    """,
    re.VERBOSE,
)
MERGED = ("lib", "bin", "sbin", "lib32", "lib64", "libx32")


@dataclass(frozen=True, slots=True)
class Package:
    """A package as it was fetched. control: its description, as in dpkg's status file."""

    name: str
    version: str
    control: str
    data: bytes


def names(path: Path) -> list[str]:
    """The names of a list, without comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def fetch(wanted: list[str], folder: Path) -> list[Path]:
    """Download the packages that apt has as candidates into `folder`, but for those that are there; their files.

    Raises RuntimeError with apt's words when one cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as empty:  # packages that are in the folder are not listed
        try:
            listed = _apt(Path(empty), "--print-uris", *wanted)
        except RuntimeError:
            if os.geteuid() != 0:
                raise
            # A new machine, or one whose lists are old.
            subprocess.run(["apt-get", "update", "--quiet"], capture_output=True, check=False)
            listed = _apt(Path(empty), "--print-uris", *wanted)
    files = [folder / row.split()[1] for row in listed.splitlines() if row.startswith("'")]
    if len(files) != len(wanted):
        raise RuntimeError(f"apt knows only {', '.join(path.name for path in files)} of {', '.join(wanted)}")
    if not all(path.exists() for path in files):
        _apt(folder, *wanted)
    return sorted(files)


def _apt(folder: Path, *arguments: str) -> str:
    command = ["apt-get", "download", "--quiet", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed; is `apt-get update` due?\n{done.stderr}")
    return done.stdout


def read(path: Path) -> Package:
    """Read one .deb file."""
    members = dict(_members(path.read_bytes()))
    control = ""
    for name, content in members.items():
        if name.startswith("control.tar"):
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                file = archive.extractfile("./control")
                assert file is not None
                control = file.read().decode()
    fields = dict(re.findall(r"^(Package|Version): (.*)$", control, re.MULTILINE))
    data = next(content for name, content in members.items() if name.startswith("data.tar"))
    return Package(fields["Package"], fields["Version"], control, data)


def _members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    if not archive.startswith(b"!<arch>\n"):
        raise RuntimeError("not a Debian package")
    position = 8
    while position + 60 <= len(archive):
        name = archive[position : position + 16].decode().strip().rstrip("/")
        size = int(archive[position + 48 : position + 58])
        yield name, archive[position + 60 : position + 60 + size]
        position += 60 + size + size % 2


def unpack(packages: list[Package], tree: Tree) -> None:
    """Put the packages' files into the tree."""
    for package in packages:
        with tarfile.open(fileobj=io.BytesIO(package.data)) as archive:
            for entry in archive:
                path = _merged(entry.name.removeprefix("./").strip("/"))
                if not path or LEFT_OUT.match(path if not entry.isdir() else path + "/"):
                    continue
                if entry.issym():
                    tree.link(path, entry.linkname)
                elif entry.islnk():
                    tree.copy(path, _merged(entry.linkname.removeprefix("./")))
                elif entry.isfile():
                    file = archive.extractfile(entry)
                    assert file is not None
                    tree.write(path, file.read(), executable=bool(entry.mode & 0o100))
        tree.write(f"var/lib/dpkg/status.d/{package.name}", package.control.encode())
    for name in MERGED:
        if any(path.startswith(f"usr/{name}/") for path in tree.files):
            tree.link(name, f"usr/{name}")


def _merged(path: str) -> str:
    first, _, rest = path.partition("/")
    if first not in MERGED:
        return path
    return f"usr/{path}" if rest else ""


def certificates(tree: Tree) -> None:
    """The one file of all authorities, and OpenSSL's name for it."""
    prefix = "usr/share/ca-certificates/"
    found = sorted(path for path in tree.files if path.startswith(prefix) and path.endswith(".crt"))
    if not found:
        raise RuntimeError("ca-certificates holds no certificate")
    bundle = b"".join(tree.files[path].content.strip() + b"\n" for path in found)
    for path in found:
        tree.remove(path)
    tree.write("etc/ssl/certs/ca-certificates.crt", bundle)
    tree.link("usr/lib/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt")
    tree.link("usr/lib/ssl/certs", "/etc/ssl/certs")
