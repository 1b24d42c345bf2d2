"""Feature gates: names that upstream's `--feature-gates` takes, so that its command lines work here.

None of them changes anything here; using one is a warning, so that nobody thinks it does.
"""

from collections.abc import Iterable

from heliograph.config.problem import nearest

_NAMES = """
    confmap.enableMergeAppendOption exporter.file.nativeCompression extension.healthcheck.useComponentStatus
    filelog.allowFileDeletion filelog.allowHeaderMetadataParsing filelog.mtimeSortType
    filelog.protobufCheckpointEncoding filelog.windows.caseInsensitive filter.filterlog.useOTTLBridge
    filter.filtermetric.useOTTLBridge filter.filterspan.useOTTLBridge hostmetrics.process.bootTimeCache
    logs.assignKeys logs.jsonParserArray ottl.PanicDuplicateName ottl.contexts.enableOTelColContext
    ottl.functions.enableLambda parser.uri.ecscompliant pdata.useProtoPooling processor.filter.defaultErrorModeIgnore
    processor.k8sattributes.DontEmitV0K8sConventions processor.k8sattributes.EmitV1K8sConventions
    processor.k8sattributes.ShareProcessorBetweenPipelines
    processor.k8sattributes.telemetry.disableOldFormatMetrics
    processor.k8sattributes.telemetry.enableNewFormatMetrics processor.transform.defaultErrorModeIgnore
    receiver.hostmetricsreceiver.UseLinuxMemAvailable receiverhelper.newReceiverMetrics service.AllowNoPipelines
    service.profilesSupport stanza.synchronousLogEmitter stanza.windows.eventDrivenScraping
    telemetry.newPipelineTelemetry transform.flatten.logs
"""
KNOWN = frozenset(_NAMES.split())


def warnings(flags: Iterable[str]) -> list[str]:
    """One line for each gate in the `--feature-gates` values (comma-separated, with + or - in front)."""
    lines: list[str] = []
    for name in (name.strip() for flag in flags for name in flag.split(",")):
        gate = name.removeprefix("-").removeprefix("+")
        if not gate:
            continue
        if gate in KNOWN:
            lines.append(f"--feature-gates: {gate} changes nothing here")
        else:
            near = nearest(gate, sorted(KNOWN))
            lines.append(f'--feature-gates: there is no gate "{gate}"{"; " if near else ""}{near}')
    return lines
