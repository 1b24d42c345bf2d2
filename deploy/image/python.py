"""Python packages: the locked dependencies as wheels, this project compiled, both cut down to what runs.

What is not ours is kept as compiled bytecode only, in the place of its source: half the size, and nothing is written at
run time. Ours keeps its source too, so that a traceback shows its lines. Bytecode is never checked against a source
(PEP 552, unchecked), so a read-only root starts as fast as any.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tree import Tree

PLACE = "usr/local/lib/python3.11/dist-packages"
LEFT_OUT = re.compile(
    r"""
      .*\.(pyi|pyx|pxd|pxi|c|cc|cpp|h|hpp|rs|a|typed|exe)$
    | (.*/)?(tests?|testing|_tests?|benchmarks?)/(?<!heliograph/testing/)
    | [^/]+\.dist-info/(?!METADATA$|entry_points.txt$|licenses?/|LICEN[CS]E|NOTICE|COPYING)
    | bin/
    | pygments/ | Pygments-.* | pygments-.*                      # rich needs it only to colour source code
    | zstandard/_cffi\..*                                        # a second backend, for PyPy
    | google/(_upb/_message\.abi3\.so\.dSYM|protobuf/(compiler|util)/)
    """,
    re.VERBOSE,
)
_PLATFORMS = ("x86_64", "aarch64")
_COMPILE = """
import sys, py_compile
for line in sys.stdin:
    source, target, shown = line.rstrip("\\n").split("\\t")
    py_compile.compile(source, target, shown, True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"""


def dependencies(root: Path, extra: str = "") -> list[str]:
    """What pyproject.toml asks for, or what it asks for the extra."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return list(project["optional-dependencies"][extra] if extra else project["dependencies"])


def lock(wanted: list[str], path: Path) -> None:
    """Resolve what is wanted for each platform and write versions with the hashes of their wheels."""
    found: dict[str, tuple[str, set[str]]] = {}
    for machine in _PLATFORMS:
        tags = [f"manylinux_2_{minor}_{machine}" for minor in (36, 35, 34, 31, 28, 27, 24, 17)]
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--ignore-installed",
            "--quiet",
            "--report",
            "-",
        ]
        command += ["--only-binary=:all:", "--python-version=3.11", "--implementation=cp", "--target=unused"]
        command += [f"--platform={tag}" for tag in (*tags, f"manylinux2014_{machine}", f"linux_{machine}", "any")]
        report = json.loads(subprocess.run([*command, *wanted], capture_output=True, check=True).stdout)
        for entry in report["install"]:
            name, version = entry["metadata"]["name"], entry["metadata"]["version"]
            _, hashes = found.setdefault(name.lower(), (version, set()))
            hashes.add(entry["download_info"]["archive_info"]["hashes"]["sha256"])
    lines = ["# What the image installs, for each platform; written by `python deploy/image lock`."]
    for name, (version, hashes) in sorted(found.items()):
        lines.append(" \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{value}" for value in sorted(hashes))]))
    path.write_text("\n".join(lines) + "\n")


def install(requirements: Path, folder: Path) -> None:
    """Install the locked wheels below `folder`; one whose hash is another is refused."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--require-hashes",
        "--only-binary=:all:",
        "--no-compile",
    ]
    subprocess.run([*command, "--no-deps", f"--target={folder}", f"--requirement={requirements}"], check=True)


def build(root: Path, work: Path, *, compiled: bool) -> Path:
    """The project's own files as an installation has them: the folder that holds `heliograph`.

    Compiling takes minutes, so the result is kept by the hash of what went in.
    """
    sources = [root / "pyproject.toml", root / "setup.py", root / "README.md", root / "LICENSE"]
    sources += sorted(
        path for path in (root / "src").rglob("*") if path.is_file() and path.suffix not in (".pyc", ".so")
    )
    sources = [path for path in sources if ".egg-info" not in path.as_posix()]
    key = hashlib.sha256(f"{sys.version} {compiled}".encode())
    for path in sources:
        key.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    result = work / f"own-{key.hexdigest()[:16]}"
    if result.exists():
        return result
    copy = work / "source"
    shutil.rmtree(copy, ignore_errors=True)
    for path in sources:
        target = copy / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    wheels, unpacked = work / "wheel", work / "own-new"
    shutil.rmtree(wheels, ignore_errors=True)
    shutil.rmtree(unpacked, ignore_errors=True)
    environment = {**os.environ, "HELIOGRAPH_PURE": "0" if compiled else "1", "SOURCE_DATE_EPOCH": "315532800"}
    # The compiler writes no path of this machine, the linker no identity: both differ from build to build.
    environment |= {"PYTHONHASHSEED": "0", "LDFLAGS": "-Wl,--build-id=none"}
    environment["CFLAGS"] = f"-g0 -ffile-prefix-map={copy}=."
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        wheels,
    ]
    subprocess.run([*command, copy], check=True, env=environment)
    (wheel,) = wheels.glob("*.whl")
    shutil.unpack_archive(wheel, unpacked, "zip")
    unpacked.rename(result)
    return result


def place(folder: Path, tree: Tree, *, own: bool, work: Path) -> None:
    """Cut an installation down and add it to the tree, libraries stripped and sources compiled."""
    kept = Tree()
    kept.take(folder, "x")
    for path in list(kept.files):
        if LEFT_OUT.match(path.removeprefix("x/")) and "/heliograph/" not in path:
            kept.remove(path)
    stage = work / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    kept.lay(stage)
    libraries = sorted(path for path in stage.rglob("*.so*") if path.is_file())
    if libraries:
        subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)
    bytecode(stage / "x", PLACE, keep_source=own)
    tree.take(stage / "x", PLACE)


def bytecode(folder: Path, place: str, *, keep_source: bool) -> None:
    """Compile every source below `folder`, which will be at `place`, always in the same order and state."""
    jobs: list[str] = []
    for source in sorted(folder.rglob("*.py")):
        if keep_source:
            if any(source.parent.glob(f"{source.stem}.cpython-*.so")):
                continue
            target = source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc"
            target.parent.mkdir(exist_ok=True)
        else:
            target = source.with_suffix(".pyc")
        jobs.append(f"{source}\t{target}\t/{place}/{source.relative_to(folder).as_posix()}\n")
    environment = {"PYTHONHASHSEED": "0", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-I", "-W", "ignore", "-c", _COMPILE]
    subprocess.run(command, input="".join(jobs), text=True, check=True, env=environment)
    if not keep_source:
        for source in folder.rglob("*.py"):
            source.unlink()
