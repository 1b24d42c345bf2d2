"""An image as an OCI archive, which every engine loads: `podman load`, `ctr images import`, `skopeo copy oci-archive:`.

The manifest that `docker load` of older engines looks for is there too. Source: the OCI image specification 1.1
(layout, index, manifest, configuration).
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: what it holds, the digest and size of its tar archive, and that archive packed."""

    what: str
    digest: str
    size: int
    packed: bytes

    @classmethod
    def of(cls, what: str, tar: bytes) -> Self:
        """Pack a tar archive."""
        return cls(what, f"sha256:{hashlib.sha256(tar).hexdigest()}", len(tar), gzip.compress(tar, 9, mtime=0))


def write(
    output: Path,
    name: str,
    architecture: str,
    layers: Sequence[Layer],
    settings: Mapping[str, Any],
) -> str:
    """Write an image and return the digest of its manifest.

    name: repository:tag. architecture: as Go names it. layers: the lowest first. settings: the object `config` of the
    image's configuration.
    """
    blobs: dict[str, bytes] = {}

    def blob(content: bytes, media: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}

    packed = [blob(layer.packed, _LAYER) for layer in layers]
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": settings,
        "rootfs": {
            "type": "layers",
            "diff_ids": [layer.digest for layer in layers],
        },
        "history": [{"created_by": layer.what} for layer in layers],
    }
    configured = blob(_json(config), _CONFIG)
    manifest = blob(
        _json({"schemaVersion": 2, "mediaType": _MANIFEST, "config": configured, "layers": packed}), _MANIFEST
    )
    tag = name.rpartition(":")[2]
    names = {"io.containerd.image.name": full(name), "org.opencontainers.image.ref.name": tag}
    index = {"schemaVersion": 2, "manifests": [{**manifest, "annotations": names}]}
    old = [{"Config": _path(configured), "RepoTags": [name], "Layers": [_path(layer) for layer in packed]}]
    files = {f"blobs/sha256/{digest}": content for digest, content in blobs.items()}
    files["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    files["index.json"] = _json(index)
    files["manifest.json"] = _json(old)
    with tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in sorted(files.items()):
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return str(manifest["digest"])


def full(name: str) -> str:
    """The name as engines write it out: `heliograph:1` means `docker.io/library/heliograph:1`."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def _path(descriptor: Mapping[str, Any]) -> str:
    return f"blobs/sha256/{descriptor['digest'].removeprefix('sha256:')}"


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
