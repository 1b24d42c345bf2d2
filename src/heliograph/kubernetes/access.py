"""Where the API server is and who this process is there: service account, kubeconfig, or nobody.

The keys are those of upstream's internal/k8sconfig: `auth_type` and `context`. A service account's token is read again
when it is a minute old or was refused, since the kubelet rotates it.
Sources: Kubernetes documentation, "Accessing the API from within a Pod" and "Organizing Cluster Access Using
kubeconfig Files".
"""

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from heliograph.component.errors import StartError

AuthType = Literal["none", "serviceAccount", "kubeConfig"]
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_SECONDS = 60.0


class Token:
    """A bearer token: fixed text, or a file that is read again. Empty: no credentials."""

    def __init__(self, text: str = "", file: Path | None = None) -> None:
        self._text = text
        self._file = file
        self._read_at = -TOKEN_SECONDS

    def value(self, now: float) -> str:
        """The token at `now` (monotonic seconds). When the file cannot be read, the last one, or StartError."""
        if self._file is not None and now - self._read_at >= TOKEN_SECONDS:
            try:
                self._text = self._file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                if not self._text:
                    raise StartError(f"the token {self._file} cannot be read: {_reason(error)}") from None
            self._read_at = now
        return self._text

    def forget(self) -> None:
        """It was refused: read the file before the next request."""
        self._read_at = -TOKEN_SECONDS


@dataclass(frozen=True, slots=True)
class Access:
    """server: URL without a slash at its end. tls: None for http://. headers: beside the token."""

    server: str
    tls: ssl.SSLContext | None
    token: Token
    headers: Mapping[str, str]
    server_name: str = ""


def access(
    auth_type: AuthType, context: str, environ: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT
) -> Access:
    """What the configuration means on this machine. Raises StartError."""
    if auth_type == "kubeConfig":
        return _from_kubeconfig(context, environ)
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise StartError(
            f"auth_type {auth_type} needs KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, which every pod has; "
            "outside of a cluster use auth_type: kubeConfig"
        )
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if auth_type == "none":
        _unverified(tls)
        return Access(server, tls, Token(), {})
    _trust_file(tls, str(service_account / "ca.crt"))
    token = Token(file=service_account / "token")
    token.value(0.0)
    return Access(server, tls, token, {})


def _from_kubeconfig(context: str, environ: Mapping[str, str]) -> Access:
    paths = [Path(path) for path in environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    paths = paths or [Path(environ.get("HOME", "/root")) / ".kube" / "config"]
    files = [_load(path) for path in paths if len(paths) == 1 or path.exists()]
    where = ", ".join(str(path) for path in paths)
    name = context or next((file["current-context"] for _, file in files if file.get("current-context")), "")
    if not name:
        raise StartError(f"kubeconfig {where} has no current-context; name one in `context`")
    chosen, _ = _named(files, "contexts", "context", name, where)
    cluster, folder = _named(files, "clusters", "cluster", str(chosen.get("cluster", "")), where)
    user, user_folder = (
        ({}, folder) if not chosen.get("user") else _named(files, "users", "user", chosen["user"], where)
    )
    server = str(cluster.get("server") or "")
    if not server.startswith(("http://", "https://")):
        raise StartError(f"kubeconfig {where}: server {server!r} of cluster {chosen.get('cluster')!r} is no URL")
    for key in ("exec", "auth-provider"):
        if user.get(key):
            raise StartError(
                f"kubeconfig {where}: user {chosen['user']!r} has `{key}`, which is not supported; "
                "give it a token or a client certificate"
            )
    if cluster.get("proxy-url"):
        raise StartError(f"kubeconfig {where}: proxy-url is not supported; remove it")
    tls = _tls(cluster, user, folder, user_folder) if server.startswith("https://") else None
    headers = {}
    if user.get("username") and not user.get("token"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    file = user_folder / user["tokenFile"] if user.get("tokenFile") else None
    token = Token(str(user.get("token") or ""), file)
    token.value(0.0)
    return Access(server.rstrip("/"), tls, token, headers, str(cluster.get("tls-server-name") or ""))


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path, user_folder: Path) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if cluster.get("insecure-skip-tls-verify"):
        _unverified(tls)
    elif cluster.get("certificate-authority-data"):
        authority = _decoded(cluster, "certificate-authority-data")
        try:
            tls.load_verify_locations(cadata=authority.decode())
        except (ssl.SSLError, ValueError) as error:
            raise StartError(f"kubeconfig: certificate-authority-data is no certificate: {_reason(error)}") from None
    elif cluster.get("certificate-authority"):
        _trust_file(tls, str(folder / cluster["certificate-authority"]))
    else:
        tls.load_default_certs(ssl.Purpose.SERVER_AUTH)
    certificate = _material(user, "client-certificate", user_folder)
    if certificate:
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(certificate + b"\n" + _material(user, "client-key", user_folder))
            pair.flush()
            try:
                tls.load_cert_chain(pair.name)
            except (ssl.SSLError, OSError) as error:
                raise StartError(f"kubeconfig: the client certificate cannot be used: {_reason(error)}") from None
    return tls


def _load(path: Path) -> tuple[Path, dict[str, Any]]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StartError(f"kubeconfig {path} cannot be read: {_reason(error)}") from None
    if not isinstance(content, dict):
        raise StartError(f"kubeconfig {path} holds no configuration")
    return path.parent, content


def _named(
    files: list[tuple[Path, dict[str, Any]]], section: str, key: str, name: str, where: str
) -> tuple[dict[str, Any], Path]:
    """The first entry of that name and the folder its relative paths are meant from."""
    for folder, file in files:
        for entry in file.get(section) or ():
            if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(key), dict):
                return entry[key], folder
    raise StartError(f"kubeconfig {where} has no {key} {name!r}")


def _material(user: Mapping[str, Any], key: str, folder: Path) -> bytes:
    if user.get(f"{key}-data"):
        return _decoded(user, f"{key}-data")
    if not user.get(key):
        return b""
    try:
        return (folder / str(user[key])).read_bytes()
    except OSError as error:
        raise StartError(f"kubeconfig: {key} {user[key]} cannot be read: {_reason(error)}") from None


def _decoded(section: Mapping[str, Any], key: str) -> bytes:
    try:
        decoded = base64.b64decode(section[key])
    except (binascii.Error, TypeError, ValueError):
        raise StartError(f"kubeconfig: {key} is not base64") from None
    return decoded


def _trust_file(tls: ssl.SSLContext, path: str) -> None:
    try:
        tls.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise StartError(f"the certificate authority {path} cannot be used: {_reason(error)}") from None


def _unverified(tls: ssl.SSLContext) -> None:
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return error.strerror
    return str(error) or type(error).__name__
