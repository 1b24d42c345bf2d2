"""Builds the container images without a container engine and without a base image.

    python deploy/image build          build/image/heliograph.tar, an OCI archive; prints digest and size
    python deploy/image demo           the same for deploy/demo: an application with the OpenTelemetry SDK
    python deploy/image rootfs DIR     only the root folder, for a Containerfile
    python deploy/image lock           write the requirements again, after pyproject.toml changed

Layers: Debian's Python (debian.txt), dependencies (requirements*.txt), the program. Run it with the Python 3.11 that
has the project's build tools (`make image` does). Two builds of the same inputs give the same digest.
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
# Isolated: no module comes from the folder or the user's home, no PYTHON* variable counts. UTF-8 whatever the locale.
_SCRIPT = b"""#!/usr/bin/python3.11 -IXutf8
import sys

from heliograph.cli import main

sys.exit(main())
"""
_PASSWD = "root:x:0:0:root:/:/usr/sbin/nologin\nheliograph:x:{0}:{0}:heliograph:/var/lib/heliograph:/usr/sbin/nologin\n"
_GROUP = "root:x:0:\nheliograph:x:{0}:\n"


def system(work: Path, *more: str) -> Tree:
    """The first layer: Debian's Python, and the few files of /etc that programs look at. more: further packages."""
    tree = Tree()
    debian.unpack(debian.fetch([*debian.names(HERE / "debian.txt"), *more], work / "debian"), tree)
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


def libraries(requirements: str, work: Path) -> Tree:
    """The layer of locked wheels."""
    tree = Tree()
    python.install(HERE / requirements, work / "dependencies")
    python.place(work / "dependencies", tree, own=False, work=work)
    return tree


def layers(work: Path, source: Path, *, compiled: bool) -> list[tuple[str, Tree]]:
    """What the image is made of, the lowest first."""
    own = Tree()
    python.place(python.build(source, work, compiled=compiled), own, own=True, work=work)
    own.write(ENTRY.strip("/"), _SCRIPT, executable=True)
    return [
        ("Debian's Python", system(work)),
        ("dependencies", libraries("requirements.txt", work)),
        ("heliograph", own),
    ]


def demo(work: Path, source: Path) -> list[tuple[str, Tree]]:
    """The application that sends telemetry."""
    own = Tree()
    own.write("app/shop.py", (source / "deploy/demo/shop.py").read_bytes())
    return [
        ("Debian's Python", system(work, "libstdc++6")),
        ("OpenTelemetry SDK", libraries("requirements-demo.txt", work)),
        ("shop", own),
    ]


def version(source: Path) -> str:
    """The project's version."""
    scope: dict[str, Any] = {}
    exec((source / "src/heliograph/__init__.py").read_text(), scope)
    return str(scope["__version__"])


def labels(title: str, work: Path, source: Path) -> dict[str, str]:
    """What the image says about itself."""
    git = ["git", "-C", str(source), "rev-parse", "HEAD"]
    revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    packages = map(debian.read, sorted((work / "debian").glob("*.deb")))
    return {
        "org.opencontainers.image.title": title,
        "org.opencontainers.image.version": version(source),
        "org.opencontainers.image.revision": revision,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.debian.packages": " ".join(f"{found.name}={found.version}" for found in packages),
    }


def write(title: str, made: list[tuple[str, Tree]], settings: dict[str, Any], options: argparse.Namespace) -> None:
    """Write the archive, and print what is in it."""
    name = options.name or f"{title}:{version(options.source)}"
    output = options.output or options.work / f"{title}.tar"
    packed = [(what, tree.layer()) for what, tree in made]
    machine = platform.machine()
    settings = {**settings, "Labels": labels(title, options.work, options.source)}
    digest = archive.write(output, name, _ARCHITECTURES.get(machine, machine), packed, settings)
    for what, layer in packed:
        print(f"{len(layer) / 1e6:7.1f} MB  {what}")
    print(
        f"{sum(len(layer) for _, layer in packed) / 1e6:7.1f} MB  in all, {output.stat().st_size / 1e6:.1f} MB packed"
    )
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
    if options.command == "demo":
        write(
            "heliograph-demo",
            demo(options.work, options.source),
            {**SETTINGS, "Entrypoint": ["/usr/bin/python3.11", "-Xutf8", "/app/shop.py"], "ExposedPorts": {}},
            options,
        )
        return 0
    made = layers(options.work, options.source, compiled=not options.pure)
    if options.command == "rootfs":
        for _, tree in made:
            tree.lay(options.folder)
        return 0
    write("heliograph", made, SETTINGS, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
