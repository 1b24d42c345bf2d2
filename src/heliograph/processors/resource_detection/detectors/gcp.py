"""The `gcp` detector: which of Google Cloud's platforms this is, from variables and the metadata server.

Sources: Google Cloud documentation, "Predefined metadata keys" and each platform's environment variables;
opentelemetry-collector-contrib, resourcedetectionprocessor/internal/gcp (0.156). What the server does not tell is
warned of, the rest is kept. GCE_METADATA_HOST names another server, as for Google's libraries.
"""

import re
from collections.abc import Callable

from heliograph.processors.resource_detection.asking import Asker, fields, word
from heliograph.processors.resource_detection.config import GcpConfig, matching
from heliograph.processors.resource_detection.detected import Absent, Detected, DetectionError, selected

_HEADERS = {"Metadata-Flavor": "Google"}
_GROUP = re.compile(r"projects/[^/]+/(zone|region)s/([^/]+)/instanceGroupManagers/([^/]+)")
_BARE_METAL = {"cloud.account.id": "BMS_PROJECT_ID", "host.name": "BMS_INSTANCE_ID", "cloud.region": "BMS_REGION"}
_APP = {"faas.name": "GAE_SERVICE", "faas.version": "GAE_VERSION", "faas.instance": "GAE_INSTANCE"}
_JOB = {
    "faas.name": "CLOUD_RUN_JOB",
    "gcp.cloud_run.job.execution": "CLOUD_RUN_EXECUTION",
    "gcp.cloud_run.job.task_index": "CLOUD_RUN_TASK_INDEX",
}
_SERVICE = {"faas.name": "K_SERVICE", "faas.version": "K_REVISION"}
_POOL = {"faas.name": "CLOUD_RUN_WORKER_POOL", "faas.version": "CLOUD_RUN_WORKER_POOL_REVISION"}
_FUNCTIONS = (
    # variable that tells the platform, its value if it matters, platform, attributes that are variables
    ("FUNCTION_TARGET", "", "gcp_cloud_functions", _SERVICE),
    ("K_CONFIGURATION", "", "gcp_cloud_run", _SERVICE),
    ("CLOUD_RUN_JOB", "", "gcp_cloud_run", _JOB),
    ("CLOUD_RUN_WORKER_POOL", "", "gcp_cloud_run", _POOL),
    ("GAE_ENV", "standard", "gcp_app_engine", _APP),
    ("GAE_SERVICE", "", "gcp_app_engine", _APP),
)


class _Server:
    """The metadata server and what was found; `keep` notes what it does not tell."""

    def __init__(self, asker: Asker) -> None:
        host = asker.environ.get("GCE_METADATA_HOST") or "169.254.169.254"
        self._base = f"http://{host}/computeMetadata/v1/"
        self._asker = asker
        self.found: dict[str, str] = {"cloud.provider": "gcp"}
        self.warnings: list[str] = []

    async def find(self) -> None:
        answer = await self._asker.probe(self._base + "project/project-id", _HEADERS)
        if answer.headers.get("metadata-flavor") != "Google":
            self._asker.found = False
            raise Absent("the metadata server is not Google's")
        self.found["cloud.account.id"] = answer.text.strip()

    async def get(self, path: str) -> str:
        return (await self._asker.text(self._base + path, _HEADERS)).strip()

    async def keep(self, name: str, path: str, change: Callable[[str], str] = str) -> None:
        try:
            self.found[name] = change(await self.get(path))
        except DetectionError as error:
            self.warnings.append(f"{name}: {error}")

    async def optional(self, path: str) -> str:
        """The value, or "" when the server does not know that key."""
        answer = await self._asker.ask(self._base + path, _HEADERS)
        return answer.text.strip() if answer.status == 200 else ""


async def detect(config: GcpConfig, asker: Asker) -> Detected:
    """Raises Absent outside of Google Cloud."""
    environ, on = asker.environ, config.resource_attributes
    if all(environ.get(variable) for variable in _BARE_METAL.values()):
        found = {name: environ[variable] for name, variable in _BARE_METAL.items()}
        return selected({"cloud.provider": "gcp", "cloud.platform": "gcp_bare_metal_solution", **found}, on)
    server = _Server(asker)
    await server.find()
    labels: dict[str, str] = {}
    location = ""
    if "KUBERNETES_SERVICE_HOST" in environ:
        location = await server.optional("instance/attributes/cluster-location")
    function = next(
        (entry for entry in _FUNCTIONS if entry[0] in environ and entry[1] in ("", environ[entry[0]])), None
    )
    if location:
        await _kubernetes(server, location)
    elif function is not None:
        await _function(server, asker, function)
    else:
        await _machine(server)
        if config.labels:
            labels = await _labels(server, asker, config)
    kept = selected({name: value for name, value in server.found.items() if value}, on, tuple(server.warnings))
    return Detected({**kept.attributes, **labels}, kept.schema_url, kept.warnings)


async def _kubernetes(server: _Server, location: str) -> None:
    server.found["cloud.platform"] = "gcp_kubernetes_engine"
    zonal = location.count("-") == 2
    server.found["cloud.availability_zone" if zonal else "cloud.region"] = location
    await server.keep("k8s.cluster.name", "instance/attributes/cluster-name")
    await server.keep("host.id", "instance/id")
    server.found["host.name"] = await server.optional("instance/name")  # workload identity hides it


async def _function(server: _Server, asker: Asker, entry: tuple[str, str, str, dict[str, str]]) -> None:
    variable, value, platform, variables = entry
    server.found["cloud.platform"] = platform
    server.found |= {name: asker.environ.get(named, "") for name, named in variables.items()}
    if platform != "gcp_app_engine":
        await server.keep("faas.instance", "instance/id")
    if variable == "GAE_SERVICE":
        await _zone(server)
        return
    if value:
        await server.keep("cloud.availability_zone", "instance/zone", _last)
    await server.keep("cloud.region", "instance/region", _last)


async def _machine(server: _Server) -> None:
    server.found["cloud.platform"] = "gcp_compute_engine"
    await _zone(server)
    await server.keep("host.type", "instance/machine-type")
    await server.keep("host.id", "instance/id")
    await server.keep("host.name", "instance/name")
    await server.keep("gcp.gce.instance.hostname", "instance/hostname")
    server.found["gcp.gce.instance.name"] = server.found.get("host.name", "")
    group = _GROUP.fullmatch(await server.optional("instance/attributes/created-by"))
    if group is not None:
        server.found["gcp.gce.instance_group_manager.name"] = group[3]
        server.found[f"gcp.gce.instance_group_manager.{group[1]}"] = group[2]


async def _zone(server: _Server) -> None:
    await server.keep("cloud.availability_zone", "instance/zone", _last)
    zone = server.found.get("cloud.availability_zone", "")
    if zone.count("-") == 2:
        server.found["cloud.region"] = zone.rpartition("-")[0]


async def _labels(server: _Server, asker: Asker, config: GcpConfig) -> dict[str, str]:
    """Labels of the instance, which only the Compute Engine API has; it takes the token of the instance's account."""
    base = asker.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE") or "https://compute.googleapis.com/compute/v1/"
    found = server.found
    path = (found.get("cloud.account.id"), found.get("cloud.availability_zone"), found.get("host.name"))
    try:
        token = fields(await server.get("instance/service-accounts/default/token"), "the metadata server")
        url = f"{base.rstrip('/')}/projects/{path[0]}/zones/{path[1]}/instances/{path[2]}"
        answer = fields(await asker.text(url, {"Authorization": f"Bearer {word(token, 'access_token')}"}), url)
    except DetectionError as error:
        server.warnings.append(f"labels: {error}")
        return {}
    labels = answer.get("labels")
    texts = {name: word(labels, name) for name in labels} if isinstance(labels, dict) else {}
    return {f"gcp.gce.instance.labels.{name}": value for name, value in matching(config.labels, texts).items()}


def _last(path: str) -> str:
    return path.rpartition("/")[2]
