"""The image: the same inputs give the same digest, it holds no more than it needs, and it runs as it will in a pod."""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BUILDER = ROOT / "deploy" / "image"
PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
NAME = "--name=example.test/heliograph:test"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Image:
    """An archive that was built. files: by path, what the layers put there."""

    archive: Path
    digest: str
    config: dict[str, Any]
    files: dict[str, tarfile.TarInfo]
    layers: list[bytes]


def build(folder: Path, *arguments: str) -> Image:
    """Build with plain Python modules: compiling takes minutes."""
    archive = folder / "image.tar"
    command = [sys.executable, str(BUILDER), "build", "--pure", "-o", str(archive), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    digest = re.search(r"sha256:[0-9a-f]{64}", done.stdout)
    assert digest is not None
    with tarfile.open(archive) as tar:

        def blob(name: str) -> bytes:
            file = tar.extractfile(f"blobs/sha256/{name.removeprefix('sha256:')}")
            assert file is not None
            content = file.read()
            assert f"sha256:{hashlib.sha256(content).hexdigest()}" == name
            return content

        manifest = json.loads(blob(digest[0]))
        config = json.loads(blob(manifest["config"]["digest"]))
        layers = [gzip.decompress(blob(layer["digest"])) for layer in manifest["layers"]]
    assert [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers] == config["rootfs"]["diff_ids"]
    files: dict[str, tarfile.TarInfo] = {}
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            files.update({entry.name: entry for entry in tar})
    return Image(archive, digest[0], config, files, layers)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as it is now, so that both builds have the same, whatever is edited meanwhile."""
    folder = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def image(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    work = ROOT / "build" / "image"
    return build(tmp_path_factory.mktemp("image"), f"--source={source}", f"--work={work}", NAME)


@pytest.fixture(scope="module")
def root(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layers, unpacked."""
    folder = tmp_path_factory.mktemp("root")
    for layer in image.layers:
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            tar.extractall(folder, filter="tar")
    return folder


@pytest.fixture(scope="module")
def inside(root: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the entry point in the unpacked root, as nobody that may write there."""
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    root.chmod(0o755)

    def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        command = ["chroot", "--userspec=10001:10001", str(root), "/usr/local/bin/heliograph", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, env={**environment, **PATH}
        )

    return run


def test_a_second_build_elsewhere_gives_the_same_digest(source: Path, image: Image, tmp_path: Path) -> None:
    again = build(tmp_path, f"--source={source}", f"--work={tmp_path / 'work'}", NAME)
    assert again.digest == image.digest


def test_it_is_small_and_has_no_shell(image: Image) -> None:
    assert image.archive.stat().st_size < 30e6
    assert sum(map(len, image.layers)) < 80e6
    programs = [path for path, entry in image.files.items() if "bin/" in path and not entry.isdir()]
    assert sorted(programs) == ["usr/bin/python3.11", "usr/local/bin/heliograph"]
    assert not [path for path in image.files if re.search(r"(^|/)(pip|tests?)(/|$)", path)]


def test_its_settings_are_the_containerfiles(image: Image) -> None:
    """Whoever builds with an engine gets the same user, entry point and environment."""
    text = (BUILDER / "Containerfile").read_text().rpartition("FROM scratch")[2]
    told = dict(re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE))
    settings = image.config["config"]
    assert json.loads(told["ENTRYPOINT"]) == settings["Entrypoint"] == ["/usr/local/bin/heliograph"]
    assert told["USER"] == settings["User"] == "10001:10001"
    assert told["ENV"].split() == settings["Env"]
    assert [f"{port}/tcp" for port in told["EXPOSE"].split()] == sorted(
        settings["ExposedPorts"], key=lambda p: int(p[:-4])
    )
    assert told["WORKDIR"] == settings["WorkingDir"]


def test_engines_find_it_by_its_name(image: Image) -> None:
    with tarfile.open(image.archive) as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        old = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    (entry,) = index["manifests"]
    assert entry["digest"] == image.digest
    assert entry["annotations"]["io.containerd.image.name"] == "example.test/heliograph:test"
    assert old[0]["RepoTags"] == ["example.test/heliograph:test"]


def test_scanners_find_the_packages(image: Image, root: Path) -> None:
    names = [line.partition("#")[0].strip() for line in (BUILDER / "debian.txt").read_text().splitlines()]
    for name in filter(None, names):
        assert f"Package: {name}\n" in (root / "var/lib/dpkg/status.d" / name).read_text()
        assert f"{name}=" in image.config["config"]["Labels"]["org.debian.packages"]
    assert 'VERSION_ID="12"' in (root / "etc/os-release").read_text()


def test_the_lock_has_what_the_project_asks_for() -> None:
    """`python deploy/image lock` was run after the last change of the dependencies."""
    sys.path.insert(0, str(BUILDER))
    try:
        import python as builder  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(BUILDER))
    for extra, file in (("", "requirements.txt"), ("demo", "requirements-demo.txt")):
        locked = {line.partition("==")[0] for line in (BUILDER / file).read_text().splitlines() if "==" in line}
        wanted = {re.split(r"[^A-Za-z0-9._-]", text)[0].lower() for text in builder.dependencies(ROOT, extra)}
        assert wanted <= {name.replace("_", "-") for name in locked} | locked


def test_all_of_it_can_be_imported(inside: Callable[..., Any], root: Path) -> None:
    """Nothing that a component needs was cut away: a module, a library, a certificate."""
    script = """
import importlib, pkgutil, ssl, sys, heliograph
for found in pkgutil.walk_packages(heliograph.__path__, "heliograph."):
    if not found.name.startswith(("heliograph.app.demo.", "heliograph.testing.")) and "__main__" not in found.name:
        importlib.import_module(found.name)
assert len(ssl.create_default_context().get_ca_certs()) > 100
assert sys.flags.utf8_mode == 1
"""
    command = ["chroot", "--userspec=10001:10001", str(root), "/usr/bin/python3.11", "-IXutf8", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=PATH)
    assert done.returncode == 0, done.stderr


def test_it_takes_the_operators_arguments(inside: Callable[..., Any], root: Path) -> None:
    """A configuration at /conf/collector.yaml and gates: each gate is named as having no effect."""
    (root / "conf").mkdir(exist_ok=True)
    preset = (ROOT / "src/heliograph/presets/kubernetes-gateway-managed.yaml").read_text()
    (root / "conf/collector.yaml").write_text(preset)
    done = inside(
        *("validate", "--config=/conf/collector.yaml"),
        "--feature-gates=+service.profilesSupport,-nothing.ofTheKind",
        OTEL_K8S_POD_IP="10.0.0.1",
        ELASTIC_OTLP_ENDPOINT="https://endpoint.test:443",
        ELASTIC_API_KEY="k",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("valid: ")
    assert "service.profilesSupport changes nothing here" in done.stderr
    assert 'there is no gate "nothing.ofTheKind"' in done.stderr
