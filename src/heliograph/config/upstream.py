"""Component types that exist in the Collector, its contrib repository or Elastic's distribution, here or not.

One that is not in the catalog is refused as such: a type that exists elsewhere is no misspelling of one that exists
here. The list only words a message; it need not be complete.
"""

from heliograph.component.ids import Kind

_NAMES = {
    Kind.RECEIVER: """
        apachelogs docker_stats elasticapmintake file_log filestats host_metrics httpcheck jaeger journald
        k8s_cluster k8s_events k8s_objects k8sobjects kafka kubelet_stats kubeletstats mysql nginx nop otlp postgresql
        prometheus receiver_creator redis snmp syslog windowseventlog zipkin
    """,
    Kind.PROCESSOR: """
        attributes batch cumulativetodelta elasticapm elasticinframetrics elastictrace filter geoip
        groupbyattrs k8s_attributes k8sattributes memory_limiter metricstransform probabilistic_sampler redaction
        resource resource_detection span transform
    """,
    Kind.EXPORTER: """
        awss3 debug elasticsearch file kafka loadbalancing nop otlp_grpc otlp_http prometheus
        prometheusremotewrite splunk_hec
    """,
    Kind.CONNECTOR: """
        count datadog elasticapm exceptions failover forward round_robin roundrobin routing servicegraph
        signal_to_metrics signaltometrics spanmetrics
    """,
    Kind.EXTENSION: """
        apikeyauth apmconfig bearertokenauth beatsauth cgroup_runtime file_storage
        headers_setter health_check healthcheckv2 host_observer k8s_leader_elector k8s_observer
        memory_limiter oauth2client oidc opamp pprof zpages
    """,
}
UPSTREAM = {kind: frozenset(names.split()) for kind, names in _NAMES.items()}
