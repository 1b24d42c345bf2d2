"""Detectors against servers on loopback that answer as the services' documentation says, and where there is none."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from heliograph.config.decode import from_plain
from heliograph.processors.resource_detection.aws.credentials import Credentials
from heliograph.processors.resource_detection.aws.ec2_api import signed
from heliograph.processors.resource_detection.config import DETECTORS, ResourceDetectionConfig
from heliograph.processors.resource_detection.detection import Outcome, detect

DOCUMENT = {
    "accountId": "123456789012",
    "availabilityZone": "eu-west-1a",
    "imageId": "ami-1",
    "instanceId": "i-0123",
    "instanceType": "m5.large",
    "region": "eu-west-1",
}
ALL_ON: Mapping[str, Any] = {"enabled": True}
Pages = Mapping[str, Any]


class Service:
    """Pages by "METHOD path?query" or path; a page is text, an object, or a function of the request."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self.asked: list[str] = []
        self.url = self.host = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path_qs}")
        page = self.pages.get(f"{request.method} {request.path_qs}", self.pages.get(request.path_qs))
        if callable(page):
            page = await page(request)
        if isinstance(page, web.StreamResponse):
            return page
        if page is None:
            return web.Response(status=404)
        return web.Response(text=page if isinstance(page, str) else json.dumps(page))


@asynccontextmanager
async def service(pages: Pages, socket: str = "") -> AsyncIterator[Service]:
    made = Service(pages)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    if socket:
        await web.UnixSite(runner, socket).start()
    else:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.host = f"127.0.0.1:{runner.addresses[0][1]}"
        made.url = f"http://{made.host}"
    try:
        yield made
    finally:
        await runner.cleanup()


def imds(version_1: bool = False) -> Pages:
    """The pages of the instance metadata service, which want the token unless it is version 1."""

    def guarded(page: Any) -> Callable[[web.Request], Any]:
        async def answer(request: web.Request) -> Any:
            if not version_1 and request.headers.get("X-aws-ec2-metadata-token") != "T0KEN":
                return web.Response(status=401)
            return page

        return answer

    async def token(request: web.Request) -> Any:
        ttl = request.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        return "T0KEN" if ttl.isdigit() and not version_1 else web.Response(status=403)

    pages = {
        "/latest/meta-data/instance-id": "i-0123",
        "/latest/dynamic/instance-identity/document": DOCUMENT,
        "/latest/meta-data/hostname": "ip-10-0-0-1.ec2.internal",
        "/latest/meta-data/tags/instance": "Name\nteam\nsecret",
        "/latest/meta-data/tags/instance/Name": "web",
        "/latest/meta-data/tags/instance/team": "a",
        "/latest/meta-data/iam/security-credentials/": "role",
        "/latest/meta-data/iam/security-credentials/role": {"AccessKeyId": "A", "SecretAccessKey": "S", "Token": "T"},
    }
    return {"PUT /latest/api/token": token, **{path: guarded(page) for path, page in pages.items()}}


async def run(config: Mapping[str, Any], environ: Mapping[str, str], **more: Any) -> Outcome:
    return await detect(from_plain(ResourceDetectionConfig, config), environ, **more)


def clean(outcome: Outcome) -> dict[str, Any]:
    assert outcome.problems == ()
    assert outcome.absent == ()
    assert outcome.found.warnings == ()
    return dict(outcome.found.attributes)


EC2 = {
    "cloud.provider": "aws",
    "cloud.platform": "aws_ec2",
    "cloud.region": "eu-west-1",
    "cloud.account.id": "123456789012",
    "cloud.availability_zone": "eu-west-1a",
    "host.id": "i-0123",
    "host.image.id": "ami-1",
    "host.type": "m5.large",
    "host.name": "ip-10-0-0-1.ec2.internal",
}


@pytest.mark.parametrize("version_1", [False, True])
async def test_ec2(version_1: bool) -> None:
    """With a token, and where the token is refused but version 1 answers."""
    async with service(imds(version_1)) as server:
        environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url}
        assert clean(await run({"detectors": ["ec2"]}, environ)) == EC2


async def test_ec2_tags_from_metadata() -> None:
    async with service(imds()) as server:
        config = {"detectors": ["ec2"], "ec2": {"tags": ["^N", "ea"], "tags_from_imds": True}}
        found = clean(await run(config, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url}))
        assert {name: found[name] for name in found if "tag" in name} == {"ec2.tag.Name": "web", "ec2.tag.team": "a"}


async def test_ec2_tags_from_the_api_with_the_instances_role() -> None:
    seen: list[tuple[str, str]] = []

    async def describe(request: web.Request) -> str:
        seen.append((await request.text(), request.headers["Authorization"]))
        return (
            '<DescribeTagsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><tagSet>'
            "<item><key>Name</key><value>web</value></item><item><key>x</key><value>y</value></item>"
            "</tagSet></DescribeTagsResponse>"
        )

    async with service({**imds(), "POST /": describe}) as server:
        environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url, "AWS_ENDPOINT_URL_EC2": server.url}
        found = clean(await run({"detectors": ["ec2"], "ec2": {"tags": ["^Name$"]}}, environ))
    assert found == {**EC2, "ec2.tag.Name": "web"}
    ((body, authorization),) = seen
    assert "Action=DescribeTags" in body
    assert "Filter.1.Value.1=i-0123" in body
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=A/")


async def test_ec2_tags_that_are_refused_are_warned_of() -> None:
    async with service(imds()) as server:
        environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url, "AWS_ENDPOINT_URL": server.url}
        outcome = await run({"detectors": ["ec2"], "ec2": {"tags": ["."]}}, environ)
    assert dict(outcome.found.attributes) == EC2
    assert "status 404" in outcome.found.warnings[0]
    assert not outcome.problems


def test_signature_has_the_documented_shape_and_depends_on_the_body() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    one, other = (
        signed("https://ec2.eu-west-1.amazonaws.com/", body, "eu-west-1", Credentials("K", "S", "T"), now)
        for body in (b"Action=A", b"Action=B")
    )
    assert one["x-amz-date"] == "20260102T030405Z"
    assert one["x-amz-security-token"] == "T"
    names = "content-type;host;x-amz-date;x-amz-security-token"
    start = f"AWS4-HMAC-SHA256 Credential=K/20260102/eu-west-1/ec2/aws4_request, SignedHeaders={names}, Signature="
    assert one["authorization"].startswith(start)
    assert len(one["authorization"]) == len(start) + 64
    assert one["authorization"] != other["authorization"]


async def test_fail_on_missing_metadata(free_port: Callable[[], int]) -> None:
    environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    config = {"detectors": ["ec2"], "ec2": {"fail_on_missing_metadata": True, "max_attempts": 1}}
    outcome = await run(config, environ)
    assert outcome.problems
    assert outcome.problems[0].startswith("ec2: PUT ")


async def test_ecs() -> None:
    log = {"awslogs-group": "g", "awslogs-region": "us-west-2", "awslogs-stream": "s"}
    kind = {"Type": "NORMAL", "KnownStatus": "RUNNING", "LogDriver": "awslogs", "LogOptions": log}
    task = {
        "Cluster": "default",
        "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c",
        "Family": "curl",
        "Revision": "26",
        "AvailabilityZone": "us-west-2d",
        "LaunchType": "FARGATE",
        "Containers": [{"DockerId": "me", **kind}, {"DockerId": "app", **kind}],
    }
    async with service({"/v4/x/task": task, "/v4/x": {"DockerId": "me"}}) as server:
        found = clean(await run({"detectors": ["ecs"]}, {"ECS_CONTAINER_METADATA_URI_V4": f"{server.url}/v4/x"}))
    arn = "arn:aws:logs:us-west-2:111122223333:log-group:g"
    assert found == {
        "cloud.provider": "aws",
        "cloud.platform": "aws_ecs",
        "aws.ecs.task.arn": task["TaskARN"],
        "aws.ecs.task.family": "curl",
        "aws.ecs.task.revision": "26",
        "cloud.account.id": "111122223333",
        "cloud.region": "us-west-2",
        "aws.ecs.task.id": "158d1c8083dd49d6b527399fd6414f5c",
        "aws.ecs.cluster.arn": "arn:aws:ecs:us-west-2:111122223333:cluster/default",
        "cloud.availability_zone": "us-west-2d",
        "aws.ecs.launchtype": "fargate",
        "aws.log.group.names": ["g"],
        "aws.log.group.arns": [arn],
        "aws.log.stream.names": ["s"],
        "aws.log.stream.arns": [f"{arn}:log-stream:s"],
    }


AZURE = "/metadata/instance/compute?format=json&api-version=2020-09-01"
MACHINE = {
    "location": "westeurope",
    "name": "vm1",
    "osProfile": {"computerName": "host1"},
    "resourceGroupName": "MC_group_shop_westeurope",
    "subscriptionId": "sub",
    "tagsList": [{"name": "team", "value": "a"}, {"name": "other", "value": "b"}],
    "vmId": "id",
    "vmScaleSetName": "",
    "vmSize": "Standard_A3",
    "zone": "1",
}


async def azure_page(request: web.Request) -> Any:
    return MACHINE if request.headers.get("Metadata", "").lower() == "true" else web.Response(status=400)


async def test_azure() -> None:
    async with service({AZURE: azure_page}) as server:
        config = {"detectors": ["azure"], "azure": {"tags": ["^team$"]}}
        found = clean(await run(config, {"AZURE_POD_IDENTITY_AUTHORITY_HOST": server.url}))
    assert found == {
        "cloud.provider": "azure",
        "cloud.platform": "azure.vm",
        "host.name": "host1",
        "cloud.region": "westeurope",
        "host.id": "id",
        "cloud.account.id": "sub",
        "azure.vm.name": "vm1",
        "azure.vm.size": "Standard_A3",
        "azure.resourcegroup.name": "MC_group_shop_westeurope",
        "azure.tag.team": "a",
    }


async def test_aks_names_the_cluster_and_only_in_a_pod() -> None:
    config = {"detectors": ["aks"], "aks": {"resource_attributes": {"k8s.cluster.name": ALL_ON}}}
    async with service({AZURE: azure_page}) as server:
        environ = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": server.url}
        found = clean(await run(config, {**environ, "KUBERNETES_SERVICE_HOST": "10.0.0.1"}))
        outside = await run(config, environ)
    assert found == {"cloud.provider": "azure", "cloud.platform": "azure.aks", "k8s.cluster.name": "shop"}
    assert not outside.found.attributes
    assert not outside.problems


def google(**values: str) -> Pages:
    """Pages of the metadata server; a double underscore in a name stands for a slash, a single one for a hyphen."""

    def page(value: str) -> Callable[[web.Request], Any]:
        async def answer(request: web.Request) -> web.Response:
            if request.headers.get("Metadata-Flavor") != "Google":
                return web.Response(status=403)
            return web.Response(text=value, headers={"Metadata-Flavor": "Google"})

        return answer

    return {
        f"/computeMetadata/v1/{name.replace('__', '/').replace('_', '-')}": page(value)
        for name, value in {"project__project_id": "shop", "instance__id": "42", **values}.items()
    }


async def test_gcp_machine_with_labels() -> None:
    pages = google(
        instance__zone="projects/1/zones/us-central1-c",
        instance__machine_type="n1",
        instance__name="vm",
        instance__hostname="vm.c.shop.internal",
        instance__attributes__created_by="projects/1/zones/us-central1-c/instanceGroupManagers/group",
        instance__service_accounts__default__token='{"access_token": "T"}',
    )
    api = {"/compute/v1/projects/shop/zones/us-central1-c/instances/vm": {"labels": {"team": "a", "x": "y"}}}
    async with service({**pages, **api}) as server:
        environ = {
            "GCE_METADATA_HOST": server.host,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{server.url}/compute/v1/",
        }
        found = clean(await run({"detectors": ["gcp"], "gcp": {"labels": ["team"]}}, environ))
    assert found == {
        "cloud.provider": "gcp",
        "cloud.platform": "gcp_compute_engine",
        "cloud.account.id": "shop",
        "cloud.availability_zone": "us-central1-c",
        "cloud.region": "us-central1",
        "host.type": "n1",
        "host.id": "42",
        "host.name": "vm",
        "gcp.gce.instance_group_manager.name": "group",
        "gcp.gce.instance_group_manager.zone": "us-central1-c",
        "gcp.gce.instance.labels.team": "a",
    }


@pytest.mark.parametrize(
    ("environ", "pages", "expected"),
    [
        (
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
            {"instance__attributes__cluster_location": "europe-west1", "instance__attributes__cluster_name": "c"},
            {"cloud.platform": "gcp_kubernetes_engine", "cloud.region": "europe-west1", "k8s.cluster.name": "c"}
            | {"host.id": "42"},
        ),
        (
            {"K_CONFIGURATION": "c", "K_SERVICE": "s", "K_REVISION": "r"},
            {"instance__region": "projects/1/regions/europe-west1"},
            {"cloud.platform": "gcp_cloud_run", "faas.name": "s", "faas.version": "r", "faas.instance": "42"}
            | {"cloud.region": "europe-west1"},
        ),
        (
            {"CLOUD_RUN_JOB": "j", "CLOUD_RUN_EXECUTION": "e", "CLOUD_RUN_TASK_INDEX": "0"},
            {"instance__region": "projects/1/regions/europe-west1"},
            {"cloud.platform": "gcp_cloud_run", "faas.name": "j", "faas.instance": "42", "cloud.region": "europe-west1"}
            | {"gcp.cloud_run.job.execution": "e", "gcp.cloud_run.job.task_index": "0"},
        ),
    ],
)
async def test_gcp_platforms(environ: dict[str, str], pages: dict[str, str], expected: dict[str, str]) -> None:
    async with service(google(**pages)) as server:
        found = clean(await run({"detectors": ["gcp"]}, {**environ, "GCE_METADATA_HOST": server.host}))
    assert found == {"cloud.provider": "gcp", "cloud.account.id": "shop", **expected}


async def test_docker(tmp_path: Path) -> None:
    path = str(tmp_path / "docker.sock")
    async with service({"/info": {"OSType": "linux", "Name": "machine"}}, path):
        found = clean(await run({"detectors": ["docker"]}, {"DOCKER_HOST": f"unix://{path}"}))
    assert found == {"os.type": "linux", "host.name": "machine"}


def kubeconfig(folder: Path, server: str) -> dict[str, str]:
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k"}}],
        "clusters": [{"name": "k", "cluster": {"server": server}}],
    }
    (folder / "config").write_text(yaml.safe_dump(content))
    return {"KUBECONFIG": str(folder / "config")}


CLUSTER = {
    "/api/v1/nodes/n1": {"metadata": {"name": "n1", "uid": "node-uid"}},
    "/api/v1/namespaces/kube-system": {"metadata": {"uid": "cluster-uid"}},
    "/api/v1/namespaces/kube-system/configmaps/kubeadm-config": {
        "data": {"ClusterConfiguration": "apiServer: {}\nclusterName: kubernetes\n"}
    },
}


@pytest.mark.parametrize("name", ["k8s_api", "k8snode"])
async def test_node_and_cluster(tmp_path: Path, name: str) -> None:
    async with service(CLUSTER) as server:
        config = {"detectors": [name], name: {"auth_type": "kubeConfig", "node_from_env_var": "NODE"}}
        found = clean(await run(config, {**kubeconfig(tmp_path, server.url), "NODE": "n1"}))
    assert found == {"k8s.node.uid": "node-uid", "k8s.node.name": "n1", "k8s.cluster.uid": "cluster-uid"}


async def test_kubeadm(tmp_path: Path) -> None:
    async with service(CLUSTER) as server:
        config = {"detectors": ["kubeadm"], "kubeadm": {"auth_type": "kubeConfig"}}
        found = clean(await run(config, kubeconfig(tmp_path, server.url)))
    assert found == {"k8s.cluster.name": "kubernetes", "k8s.cluster.uid": "cluster-uid"}


async def test_a_node_that_may_not_be_read_is_a_failure(tmp_path: Path) -> None:
    async def forbidden(_: web.Request) -> web.Response:
        return web.Response(status=403)

    async with service({**CLUSTER, "/api/v1/nodes/n1": forbidden}) as server:
        config = {"detectors": ["k8s_api"], "k8s_api": {"auth_type": "kubeConfig"}}
        outcome = await run(config, {**kubeconfig(tmp_path, server.url), "K8S_NODE_NAME": "n1"})
    assert "403" in outcome.problems[0]


async def test_a_server_that_fails_for_now_is_asked_again(tmp_path: Path) -> None:
    asked: list[str] = []

    async def flaky(_: web.Request) -> Any:
        asked.append("")
        return web.Response(status=503) if len(asked) == 1 else CLUSTER["/api/v1/namespaces/kube-system"]

    async with service({**CLUSTER, "/api/v1/namespaces/kube-system": flaky}) as server:
        config = {"detectors": ["kubeadm"], "kubeadm": {"auth_type": "kubeConfig"}}
        found = clean(await run(config, kubeconfig(tmp_path, server.url)))
    assert found["k8s.cluster.uid"] == "cluster-uid"


EKS = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "AWS_WEB_IDENTITY_TOKEN_FILE": "/x/eks.amazonaws.com/token"}
INSTANCES = """<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item>
<ownerId>123456789012</ownerId><instancesSet><item><imageId>ami-1</imageId><instanceType>m5.large</instanceType>
<privateDnsName>ip-10</privateDnsName><tagSet><item><key>eks:cluster-name</key><value>shop</value></item></tagSet>
</item></instancesSet></item></reservationSet></DescribeInstancesResponse>"""


async def test_eks_with_cluster_name() -> None:
    async with service({**imds(), "POST /": INSTANCES}) as server:
        environ = {**EKS, "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url, "AWS_ENDPOINT_URL_EC2": server.url}
        on = {"k8s.cluster.name": ALL_ON, "host.id": ALL_ON}
        found = clean(await run({"detectors": ["eks"], "eks": {"resource_attributes": on}}, environ))
    expected = {"cloud.provider": "aws", "cloud.platform": "aws_eks", "host.id": "i-0123", "k8s.cluster.name": "shop"}
    assert found == expected


@asynccontextmanager
async def hanging() -> AsyncIterator[str]:
    """A port that takes connections and never says a word, as a link-local address whose packets are lost."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


def nowhere(host: str, folder: Path) -> dict[str, str]:
    return {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{host}",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://{host}",
        "GCE_METADATA_HOST": host,
        "DOCKER_HOST": f"unix://{folder}/none.sock",
    }


async def test_no_cloud_is_quick_and_no_failure(free_port: Callable[[], int], tmp_path: Path) -> None:
    """All detectors at once where every connection is refused."""
    started = time.monotonic()
    outcome = await run({"detectors": list(DETECTORS)}, nowhere(f"127.0.0.1:{free_port()}", tmp_path))
    assert time.monotonic() - started < 2
    assert outcome.problems == ()
    assert {text.partition(":")[0] for text in outcome.absent} == {*DETECTORS} - {"env", "system"}
    assert outcome.found.attributes["os.type"] == "linux"


@pytest.mark.parametrize("timeout", [0.5, 4])
async def test_addresses_that_hang_are_no_failure_and_end_in_time(timeout: float, tmp_path: Path) -> None:
    async with hanging() as host:
        started = time.monotonic()
        outcome = await run({"detectors": list(DETECTORS), "timeout": f"{timeout}s"}, nowhere(host, tmp_path))
        assert time.monotonic() - started < min(timeout, 2.5) + 0.7
    assert outcome.problems == ()
    assert outcome.found.attributes["os.type"] == "linux"


def test_signature_of_the_published_example() -> None:
    """post-x-www-form-urlencoded of AWS's test suite for version 4 signatures."""
    by = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "")
    now = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    headers = signed("https://example.amazonaws.com/", b"Param1=value1", "us-east-1", by, now, "service")
    expected = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
    assert headers["authorization"].endswith(f"Signature={expected}")
