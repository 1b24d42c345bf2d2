"""Endpoints of kubelets, by upstream's rules."""

import socket

import pytest

from heliograph.component.errors import StartError
from heliograph.kubernetes.kubelet import kubelet_url


@pytest.mark.parametrize(
    ("endpoint", "secure", "url"),
    [
        ("node-1:10250", True, "https://node-1:10250"),
        ("node-1:10255", False, "http://node-1:10255"),
        ("http://node-1:10255/", True, "http://node-1:10255"),
        ("https://[::1]:10250", False, "https://[::1]:10250"),
        ("", True, f"https://{socket.gethostname()}:10250"),
        ("", False, f"http://{socket.gethostname()}:10255"),
    ],
)
def test_endpoints(endpoint: str, secure: bool, url: str) -> None:
    assert kubelet_url(endpoint, secure=secure) == url


@pytest.mark.parametrize("endpoint", ["https://", "node:x", ":10250", "https://[::1"])
def test_what_is_no_endpoint_is_named(endpoint: str) -> None:
    with pytest.raises(StartError, match="no address"):
        kubelet_url(endpoint, secure=True)
