"""The readings of what runs pods: sets and deployments, jobs, and what scales them."""

from heliograph.receivers.k8s_cluster import objects
from heliograph.receivers.k8s_cluster.reading import Reading, identity, one


def _replicated(kind: str, metric: str, found: objects.Replicated) -> list[Reading]:
    if found.spec.replicas is None:
        return []
    values = (
        one(f"{metric}.desired", found.spec.replicas),
        one(f"{metric}.available", found.status.available_replicas),
    )
    return [Reading(kind, identity(kind, found.metadata), values)]


def deployment(found: objects.Replicated) -> list[Reading]:
    """A Deployment; nothing while the number of its replicas is not set."""
    return _replicated("k8s.deployment", "k8s.deployment", found)


def replica_set(found: objects.Replicated) -> list[Reading]:
    """A ReplicaSet; as a Deployment."""
    return _replicated("k8s.replicaset", "k8s.replicaset", found)


def replication_controller(found: objects.Replicated) -> list[Reading]:
    """A ReplicationController; as a Deployment, its metrics named otherwise than its attributes."""
    return _replicated("k8s.replicationcontroller", "k8s.replication_controller", found)


def stateful_set(found: objects.Replicated) -> list[Reading]:
    """A StatefulSet; nothing while the number of its replicas is not set."""
    if found.spec.replicas is None:
        return []
    status = found.status
    values = (
        one("k8s.statefulset.desired_pods", found.spec.replicas),
        one("k8s.statefulset.ready_pods", status.ready_replicas),
        one("k8s.statefulset.current_pods", status.current_replicas),
        one("k8s.statefulset.updated_pods", status.updated_replicas),
    )
    return [Reading("k8s.statefulset", identity("k8s.statefulset", found.metadata), values)]


def daemon_set(found: objects.DaemonSet) -> list[Reading]:
    """A DaemonSet."""
    status = found.status
    values = (
        one("k8s.daemonset.current_scheduled_nodes", status.current_number_scheduled),
        one("k8s.daemonset.desired_scheduled_nodes", status.desired_number_scheduled),
        one("k8s.daemonset.misscheduled_nodes", status.number_misscheduled),
        one("k8s.daemonset.ready_nodes", status.number_ready),
    )
    return [Reading("k8s.daemonset", identity("k8s.daemonset", found.metadata), values)]


def job(found: objects.Job) -> list[Reading]:
    """A Job."""
    status, spec = found.status, found.spec
    values = [
        one("k8s.job.active_pods", status.active),
        one("k8s.job.failed_pods", status.failed),
        one("k8s.job.successful_pods", status.succeeded),
    ]
    if spec.completions is not None:
        values.append(one("k8s.job.desired_successful_pods", spec.completions))
    if spec.parallelism is not None:
        values.append(one("k8s.job.max_parallel_pods", spec.parallelism))
    return [Reading("k8s.job", identity("k8s.job", found.metadata), tuple(values))]


def cron_job(found: objects.CronJob) -> list[Reading]:
    """A CronJob."""
    values = (one("k8s.cronjob.active_jobs", len(found.status.active or ())),)
    return [Reading("k8s.cronjob", identity("k8s.cronjob", found.metadata), values)]


def hpa(found: objects.Hpa) -> list[Reading]:
    """A HorizontalPodAutoscaler."""
    spec, target = found.spec, found.spec.scale_target_ref
    values = [
        one("k8s.hpa.max_replicas", spec.max_replicas),
        one("k8s.hpa.current_replicas", found.status.current_replicas),
        one("k8s.hpa.desired_replicas", found.status.desired_replicas),
    ]
    if spec.min_replicas is not None:
        values.append(one("k8s.hpa.min_replicas", spec.min_replicas))
    attributes = (
        *identity("k8s.hpa", found.metadata),
        ("k8s.hpa.scaletargetref.apiversion", target.api_version),
        ("k8s.hpa.scaletargetref.kind", target.kind),
        ("k8s.hpa.scaletargetref.name", target.name),
    )
    return [Reading("k8s.hpa", attributes, tuple(values))]
