"""Builds the container images without a container engine and without a base image.

    python deploy/image build          build/image/heliograph.tar, an OCI archive; prints digest and size
    python deploy/image demo           the same for deploy/demo: an application with the OpenTelemetry SDK
    python deploy/image rootfs DIR     only the root folder, for a Containerfile
    python deploy/image lock           write the requirements again, after pyproject.toml changed

Layers: Debian's Python (debian.txt), dependencies (requirements*.txt), the program. Run it with the Python 3.11 that
has the project's build tools (`make image` does). Two builds of the same inputs give the same digest.
"""

import argparse
import hashlib
import os
import pickle
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
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
# Isolated: no module comes from the folder or the user's home, no PYTHON* variable counts. UTF-8 whatever the locale.
_SCRIPT = b"""#!/usr/bin/python3.11 -IXutf8
import sys

from heliograph.cli import main

sys.exit(main())
"""
_PASSWD = "root:x:0:0:root:/:/usr/sbin/nologin\nheliograph:x:{0}:{0}:heliograph:/var/lib/heliograph:/usr/sbin/nologin\n"
_GROUP = "root:x:0:\nheliograph:x:{0}:\n"


def system(packages: list[Path], work: Path) -> Tree:
    """The first layer: Debian's Python, and the few files of /etc that programs look at."""
    tree = Tree()
    debian.unpack([debian.read(path) for path in packages], tree)
    debian.certificates(tree)
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


def libraries(requirements: Path, packages: list[Path], work: Path) -> Tree:
    """The layer of locked wheels, and of packages that only they need."""
    tree = Tree()
    debian.unpack([debian.read(path) for path in packages], tree)
    python.install(requirements, work / "dependencies")
    python.place(work / "dependencies", tree, own=False, work=work)
    return tree


def program(source: Path, work: Path, *, compiled: bool) -> Tree:
    """The layer of this project."""
    tree = Tree()
    python.place(python.build(source, work, compiled=compiled), tree, own=True, work=work)
    tree.write(ENTRY.strip("/"), _SCRIPT, executable=True)
    return tree


def shop(source: Path) -> Tree:
    """The layer of the application that sends telemetry."""
    tree = Tree()
    tree.write("app/shop.py", (source / "deploy/demo/shop.py").read_bytes())
    return tree


Part = tuple[str, list[Path], Callable[[], Tree]]
"""What a layer holds, the files that it is made of, and how it is made."""


def parts(options: argparse.Namespace) -> list[Part]:
    """What the image is made of, the lowest first."""
    work, source = options.work, options.source
    packages = debian.fetch(debian.names(HERE / "debian.txt"), work / "debian")
    base: Part = ("Debian's Python", packages, lambda: system(packages, work))
    if options.command == "demo":
        more, sdk = debian.fetch(["libstdc++6"], work / "debian"), HERE / "requirements-demo.txt"
        file = source / "deploy/demo/shop.py"
        return [
            base,
            ("OpenTelemetry SDK", [sdk, *more], lambda: libraries(sdk, more, work)),
            ("shop", [file], lambda: shop(source)),
        ]
    wheels, compiled = HERE / "requirements.txt", not options.pure
    return [
        base,
        ("dependencies", [wheels], lambda: libraries(wheels, [], work)),
        ("heliograph", [], lambda: program(source, work, compiled=compiled)),
    ]


def layer(part: Part, work: Path) -> archive.Layer:
    """The layer, as it was kept when it is made of the same files by the same builder."""
    what, files, make = part
    if not files:
        return archive.Layer.of(what, make().layer())
    key = hashlib.sha256(sys.version.encode())
    for path in (*files, *sorted(HERE.glob("*.py"))):
        key.update(hashlib.sha256(path.read_bytes()).digest())
    kept = work / f"layer-{key.hexdigest()[:16]}"
    if not kept.exists():
        made = make().layer()
        partial = work / f"{kept.name}.{os.getpid()}"
        partial.write_bytes(pickle.dumps(archive.Layer.of(what, made)))
        partial.rename(kept)
    found: archive.Layer = pickle.loads(kept.read_bytes())
    return found


def version(source: Path) -> str:
    """The project's version."""
    scope: dict[str, Any] = {}
    exec((source / "src/heliograph/__init__.py").read_text(), scope)
    return str(scope["__version__"])


def labels(title: str, packages: list[Path], source: Path) -> dict[str, str]:
    """What the image says about itself."""
    git = ["git", "-C", str(source), "rev-parse", "HEAD"]
    revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    contents = map(debian.read, packages)
    return {
        "org.opencontainers.image.title": title,
        "org.opencontainers.image.version": version(source),
        "org.opencontainers.image.revision": revision,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.debian.packages": " ".join(f"{found.name}={found.version}" for found in contents),
    }


def write(title: str, settings: dict[str, Any], options: argparse.Namespace) -> None:
    """Write the archive, and print what is in it."""
    name = options.name or f"{title}:{version(options.source)}"
    output = options.output or options.work / f"{title}.tar"
    wanted = parts(options)
    packages = [path for _, files, _ in wanted for path in files if path.suffix == ".deb"]
    layers = [layer(part, options.work) for part in wanted]
    machine = platform.machine()
    settings = {**settings, "Labels": labels(title, packages, options.source)}
    digest = archive.write(output, name, _ARCHITECTURES.get(machine, machine), layers, settings)
    for found in layers:
        print(f"{found.size / 1e6:7.1f} MB  {found.what}")
    print(f"{sum(found.size for found in layers) / 1e6:7.1f} MB  in all, {output.stat().st_size / 1e6:.1f} MB packed")
    print(f"{name} {digest}\n{output}")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python deploy/image", description="Build the container images.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("build", "demo", "rootfs"):
        command = commands.add_parser(name)
        command.add_argument("--source", type=Path, default=ROOT, help="the project's folder")
        command.add_argument("--work", type=Path, help="where what is fetched and compiled is kept")
        if name == "rootfs":
            command.add_argument("folder", type=Path)
        else:
            command.add_argument("-o", "--output", type=Path)
            command.add_argument("--name", help="repository:tag")
        if name != "demo":
            command.add_argument("--pure", action="store_true", help="plain Python: quicker to build, slower to run")
    commands.add_parser("lock")
    return parser


def main() -> int:
    """Run a command; returns the exit code."""
    parser = arguments()
    options = parser.parse_args()
    if sys.version_info[:2] != (3, 11):
        parser.error(f"needs Python 3.11, which is the image's; this is {platform.python_version()}")
    if options.command == "lock":
        python.lock(python.dependencies(ROOT), HERE / "requirements.txt")
        python.lock(python.dependencies(ROOT, "demo"), HERE / "requirements-demo.txt")
        return 0
    options.work = (options.work or options.source / "build/image").resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.command == "rootfs":
        for _, _, make in parts(options):
            make().lay(options.folder)
    elif options.command == "demo":
        entry = ["/usr/bin/python3.11", "-Xutf8", "/app/shop.py"]
        write("heliograph-demo", {**SETTINGS, "Entrypoint": entry, "ExposedPorts": {}}, options)
    else:
        write("heliograph", SETTINGS, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
