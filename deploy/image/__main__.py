"""Builds the container image without a container engine and without a base image.

    python deploy/image build          build/image/heliograph.tar, an OCI archive; prints digest and size
    python deploy/image rootfs DIR     only the root folder, for a Containerfile
    python deploy/image lock           write requirements.txt again, after pyproject.toml changed

Three layers: Debian's Python (debian.txt), the dependencies (requirements.txt), this project. Run it with the Python
3.11 that has the project's build tools (`make image` does). Two builds of the same inputs give the same digest.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import archive
import debian
import python
from tree import Tree

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
USER = 10001
ENTRY = "/usr/local/bin/heliograph"
SETTINGS: dict[str, Any] = {
    "Entrypoint": [ENTRY],
    "Env": ["PATH=/usr/local/bin:/usr/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
    "ExposedPorts": {"4317/tcp": {}, "4318/tcp": {}, "8888/tcp": {}, "13133/tcp": {}},
    "User": f"{USER}:{USER}",
    "WorkingDir": "/",
}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
# Isolated: no module is taken from the folder or the user's home, no PYTHON* variable counts. UTF-8 whatever the locale.
_SCRIPT = b"""#!/usr/bin/python3.11 -IXutf8
import sys

from heliograph.cli import main

sys.exit(main())
"""
_PASSWD = "root:x:0:0:root:/:/usr/sbin/nologin\nheliograph:x:{0}:{0}:heliograph:/var/lib/heliograph:/usr/sbin/nologin\n"
_GROUP = "root:x:0:\nheliograph:x:{0}:\n"


def system(work: Path) -> Tree:
    """The first layer: Debian's Python, and the few files of /etc that programs look at."""
    tree = Tree()
    debian.unpack(debian.fetch(debian.names(HERE / "debian.txt"), work / "debian"), tree)
    library = "usr/lib/python3.11"
    standard = Tree()
    for path in [path for path in tree.files if path.startswith(library + "/") and path.endswith(".py")]:
        standard.files[path] = tree.files.pop(path)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        standard.lay(Path(folder))
        python.bytecode(Path(folder, library), library, keep_source=False)
        tree.take(Path(folder, library), library)
    tree.write("etc/passwd", _PASSWD.format(USER).encode())
    tree.write("etc/group", _GROUP.format(USER).encode())
    tree.write("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
    tree.folder("tmp", mode=0o1777)
    tree.folder("var/lib/heliograph", owner=USER)
    for name in ("dev", "proc", "sys", "run"):
        tree.folder(name)
    return tree


def layers(work: Path, source: Path, *, compiled: bool) -> list[tuple[str, Tree]]:
    """What the image is made of, the lowest first."""
    libraries, own = Tree(), Tree()
    python.install(HERE / "requirements.txt", work / "dependencies")
    python.place(work / "dependencies", libraries, own=False, work=work)
    python.place(python.build(source, work, compiled=compiled), own, own=True, work=work)
    own.write(ENTRY.strip("/"), _SCRIPT, executable=True)
    return [("Debian's Python", system(work)), ("dependencies", libraries), ("heliograph", own)]


def version(source: Path) -> str:
    """The project's version."""
    scope: dict[str, Any] = {}
    exec((source / "src/heliograph/__init__.py").read_text(), scope)
    return str(scope["__version__"])


def labels(work: Path, source: Path) -> dict[str, str]:
    """What the image says about itself."""
    git = ["git", "-C", str(source), "rev-parse", "HEAD"]
    revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    debs = " ".join(f"{found.name}={found.version}" for found in map(debian.read, sorted((work / "debian").glob("*.deb"))))
    return {
        "org.opencontainers.image.title": "heliograph",
        "org.opencontainers.image.version": version(source),
        "org.opencontainers.image.revision": revision,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.debian.packages": debs,
    }


def main() -> int:
    """Run a command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python deploy/image", description="Build the container image.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("build", "rootfs"):
        command = commands.add_parser(name)
        command.add_argument("--source", type=Path, default=ROOT, help="the project's folder")
        command.add_argument("--work", type=Path, help="where what is fetched and compiled is kept")
        command.add_argument("--pure", action="store_true", help="plain Python: quicker to build, slower to run")
    commands.choices["build"].add_argument("-o", "--output", type=Path)
    commands.choices["build"].add_argument("--name", help="repository:tag")
    commands.choices["rootfs"].add_argument("folder", type=Path)
    commands.add_parser("lock")
    options = parser.parse_args()
    if sys.version_info[:2] != (3, 11):
        parser.error(f"needs Python 3.11, which is the image's; this is {platform.python_version()}")
    if options.command == "lock":
        python.lock(ROOT, HERE / "requirements.txt")
        return 0
    work = (options.work or options.source / "build/image").resolve()
    work.mkdir(parents=True, exist_ok=True)
    made = layers(work, options.source, compiled=not options.pure)
    if options.command == "rootfs":
        for _, tree in made:
            tree.lay(options.folder)
        return 0
    name = options.name or f"heliograph:{version(options.source)}"
    output = options.output or work / "heliograph.tar"
    packed = [(what, tree.layer()) for what, tree in made]
    settings = {**SETTINGS, "Labels": labels(work, options.source)}
    machine = platform.machine()
    digest = archive.write(output, name, _ARCHITECTURES.get(machine, machine), packed, settings)
    for what, layer in packed:
        print(f"{len(layer) / 1e6:7.1f} MB  {what}")
    print(f"{sum(len(layer) for _, layer in packed) / 1e6:7.1f} MB  in all, {output.stat().st_size / 1e6:.1f} MB packed")
    print(f"{name} {digest}\n{output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
