"""Whom a case is run against: this program compiled, the same as plain Python, and the upstream Collector.

Both of ours are copies of src/ under build/bench/, so that neither the work tree nor modules compiled in it matter;
the compiled one is made once for each state of the sources. The peer is `collector` of the lab: $HELIOGRAPH_LAB, else
../shared/lab beside the repository.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("compiled", "plain", "upstream")
_COPIES = ROOT / "build" / "bench"


@dataclass(frozen=True, slots=True)
class Variant:
    """name: one of NAMES. command: without --config. source: our sources, None of the peer."""

    name: str
    command: tuple[str, ...]
    source: Path | None

    @property
    def environment(self) -> dict[str, str]:
        """What the process needs beside what it inherits."""
        return {} if self.source is None else {"PYTHONPATH": str(self.source)}


def available(names: list[str]) -> tuple[list[Variant], list[str]]:
    """(variants that can be run, what to say of those that cannot)."""
    found: list[Variant] = []
    missing: list[str] = []
    for name in names:
        made = _upstream() if name == "upstream" else _ours(name)
        if isinstance(made, Variant):
            found.append(made)
        else:
            missing.append(made)
    return found, missing


def _ours(name: str) -> Variant | str:
    copy = _COPIES / f"{name}-{_digest()}"
    if not copy.exists():
        for old in _COPIES.glob(f"{name}-*"):
            shutil.rmtree(old)
        half = copy.with_name(f"new-{name}-{os.getpid()}")
        shutil.copytree(ROOT / "src", half / "src", ignore=shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info"))
        if name == "compiled":
            for file in ("pyproject.toml", "setup.py", "README.md"):
                shutil.copy(ROOT / file, half)
            print("compiling the hot modules ...", flush=True)
            built = subprocess.run(
                [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
                cwd=half,
                env={**os.environ, "HELIOGRAPH_PURE": "0"},
                capture_output=True,
                text=True,
            )
            if built.returncode:
                shutil.rmtree(half)
                last = (built.stderr.strip().splitlines() or ["no reason given"])[-1]
                return f"compiled: the hot modules cannot be compiled here ({last})"
        half.rename(copy)
    return Variant(name, (sys.executable, "-m", "heliograph"), copy / "src")


def _digest() -> str:
    found = hashlib.sha256((ROOT / "setup.py").read_bytes())
    for path in sorted((ROOT / "src").rglob("*")):
        if path.suffix in (".py", ".yaml"):
            found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def _upstream() -> Variant | str:
    lab = Path(os.environ.get("HELIOGRAPH_LAB") or ROOT.parent / "shared" / "lab") / "collector" / "collector"
    if not lab.exists():
        return f"upstream: there is no Collector at {lab}; set HELIOGRAPH_LAB. Only our own figures are shown"
    binary = subprocess.run([lab], capture_output=True, text=True, check=True).stdout.strip()
    return Variant("upstream", (binary,), None)
