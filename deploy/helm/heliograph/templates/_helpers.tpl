{{- define "heliograph.name" -}}
{{- if contains "heliograph" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-heliograph" (.Release.Name | trunc 29 | trimSuffix "-") }}{{ end -}}
{{- end }}

{{- define "heliograph.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end }}

{{- define "heliograph.secret" -}}
{{ .Values.secret.existing | default (include "heliograph.name" .) }}
{{- end }}

{{/* Which preset the gateway runs. */}}
{{- define "heliograph.gateway" -}}
{{- get (dict "serverless" "kubernetes-gateway-managed" "hosted" "kubernetes-gateway-managed" "self-managed" "kubernetes-gateway-otlp" "ece" "kubernetes-gateway-otlp" "eck" "kubernetes-gateway-otlp" "direct" "kubernetes-gateway-elasticsearch") .Values.scenario -}}
{{- end }}

{{/* Labels by which a role's pods are selected: (dict "root" $ "role" "daemon"). */}}
{{- define "heliograph.selector" -}}
app.kubernetes.io/name: heliograph
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "heliograph.labels" -}}
{{ include "heliograph.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* What every pod's template has: (dict "root" $ "role" "daemon"). */}}
{{- define "heliograph.podMetadata" -}}
labels:
  {{- include "heliograph.labels" . | nindent 2 }}
  {{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  checksum/config: {{ include (print .root.Template.BasePath "/configmaps.yaml") .root | sha256sum }}
  {{- if not .root.Values.secret.existing }}
  checksum/secret: {{ include (print .root.Template.BasePath "/secret.yaml") .root | sha256sum }}
  {{- end }}
  {{- with .root.Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* The container but for what a role adds: (dict "root" $ "role" "daemon" "config" .Values.daemon). */}}
{{- define "heliograph.container" -}}
name: heliograph
image: {{ include "heliograph.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args:
  - --config=/conf/collector.yaml
  - --config=/conf/values.yaml
ports:
  {{- if ne .role "cluster" }}
  - {name: otlp-grpc, containerPort: 4317{{ if .hostPort }}, hostPort: 4317{{ end }}}
  - {name: otlp-http, containerPort: 4318{{ if .hostPort }}, hostPort: 4318{{ end }}}
  {{- end }}
  - {name: metrics, containerPort: 8888}
  - {name: health, containerPort: 13133}
startupProbe:
  httpGet: {path: /, port: health}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /, port: health}
  periodSeconds: 5
  timeoutSeconds: 5
livenessProbe:
  httpGet: {path: /, port: health}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
resources:
  {{- toYaml .config.resources | nindent 2 }}
{{- end }}

{{/* Variables of every role. */}}
{{- define "heliograph.env" -}}
- name: OTEL_K8S_POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: OTEL_K8S_NODE_IP
  valueFrom: {fieldRef: {fieldPath: status.hostIP}}
- name: OTEL_K8S_NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: OTEL_K8S_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: OTEL_K8S_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- if .root.Values.clusterName }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ printf "k8s.cluster.name=%s" .root.Values.clusterName | quote }}
{{- end }}
{{- with .config.drainSeconds }}
- name: HELIOGRAPH_DRAIN_SECONDS
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Endpoint and key: (dict "root" $ "endpoint" "ELASTIC_ENDPOINT"). */}}
{{- define "heliograph.secretEnv" -}}
- name: {{ .endpoint }}
  valueFrom: {secretKeyRef: {name: {{ include "heliograph.secret" .root }}, key: endpoint}}
- name: ELASTIC_API_KEY
  valueFrom: {secretKeyRef: {name: {{ include "heliograph.secret" .root }}, key: apiKey}}
{{- if include "heliograph.ca" .root }}
- name: HELIOGRAPH_CA_FILE
  value: /secret/ca.crt
{{- end }}
{{- end }}

{{/* Whether a CA of the user's own is in the secret. With an existing secret that is for its owner to say. */}}
{{- define "heliograph.ca" -}}
{{- if or .Values.secret.ca (and .Values.secret.existing .Values.secret.existingHasCa) }}yes{{ end -}}
{{- end }}

{{- define "heliograph.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "heliograph.unprivileged" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Volume of a role's configuration: (dict "root" $ "role" "daemon"). */}}
{{- define "heliograph.configVolume" -}}
- name: config
  configMap: {name: {{ include "heliograph.name" .root }}-{{ .role }}}
{{- end }}

{{/* Where pods go, of all roles but the daemon. */}}
{{- define "heliograph.placement" -}}
{{- with .config.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .config.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .config.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .config.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "heliograph.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}

{{/* Serve on for a while after leaving the service. */}}
{{- define "heliograph.preStop" -}}
preStop:
  {{- if semverCompare ">=1.30.0-0" .root.Capabilities.KubeVersion.Version }}
  sleep: {seconds: {{ .config.preStopSeconds }}}
  {{- else }}
  exec: {command: [/usr/bin/python3.11, -c, "import time; time.sleep({{ .config.preStopSeconds }})"]}
  {{- end }}
{{- end }}

{{/* Claim of a replica's volume for its queue: of a role's storage. */}}
{{- define "heliograph.queueClaim" -}}
- metadata:
    name: queue
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .class }}
    storageClassName: {{ . }}
    {{- end }}
    resources: {requests: {storage: {{ .size }}}}
{{- end }}
