"""Where a kubelet is and how to speak to it: by service account, client certificate, through the API server, or openly.

The keys and the rules for endpoints are those of upstream's internal/kubelet: without a scheme the endpoint is https://,
for `none` http://; without an endpoint it is this machine's name with port 10250, for `none` 10255. With
`kubeConfig` the endpoint is a node's name, and the API server passes the requests on.
"""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

from heliograph.component.errors import StartError
from heliograph.kubernetes.access import SERVICE_ACCOUNT, Access, Token, access
from heliograph.net.config import TLSClientConfig
from heliograph.net.tls import secure_client_context

KubeletAuthType = Literal["tls", "serviceAccount", "kubeConfig", "none"]
SECURE_PORT, READ_ONLY_PORT = 10250, 10255


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubelet:
    """Which kubelet, and as whom. The files are PEM; "" where none is given. context: of the kubeconfig."""

    auth_type: KubeletAuthType
    endpoint: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure_skip_verify: bool = False
    context: str = ""

    def access(self, environ: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT) -> Access:
        """What this means on this machine. Raises StartError."""
        if self.auth_type == "kubeConfig":
            server = access("kubeConfig", self.context, environ)
            if self.insecure_skip_verify and server.tls is not None:
                server.tls.check_hostname = False
                server.tls.verify_mode = ssl.CERT_NONE
            return replace(server, server=f"{server.server}/api/v1/nodes/{quote(self.endpoint, safe='')}/proxy")
        token = Token()
        authority = str(service_account / "ca.crt")
        if self.auth_type == "serviceAccount":
            token = Token(file=service_account / "token")
            token.value(0.0)
        url = kubelet_url(self.endpoint, secure=self.auth_type != "none")
        if url.startswith("http://"):
            return Access(url, None, token, {})
        context = secure_client_context(
            TLSClientConfig(
                ca_file=self.ca_file,
                cert_file=self.cert_file,
                key_file=self.key_file,
                include_system_ca_certs_pool=True,
                insecure_skip_verify=self.insecure_skip_verify,
            )
        )
        if self.auth_type == "serviceAccount":
            try:
                context.load_verify_locations(cafile=authority)
            except (ssl.SSLError, OSError) as error:
                raise StartError(f"the certificate authority {authority} cannot be used: {error}") from None
        return Access(url, context, token, {})


def kubelet_url(endpoint: str, *, secure: bool) -> str:
    """The URL of a kubelet, without a slash at its end. Raises StartError."""
    if not endpoint:
        endpoint = f"{socket.gethostname()}:{SECURE_PORT if secure else READ_ONLY_PORT}"
    if not endpoint.startswith(("http://", "https://")):
        endpoint = f"https://{endpoint}" if secure else f"http://{endpoint}"
    try:
        parts = urlsplit(endpoint)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise StartError(f"endpoint {endpoint!r} is no address of a kubelet, such as node-1:10250")
    return endpoint.rstrip("/")
