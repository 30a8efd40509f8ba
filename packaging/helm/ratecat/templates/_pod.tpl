{{/* ratecat.yml and the files beside it. */}}
{{- define "ratecat.files" -}}
{{- toYaml (merge (dict "ratecat.yml" (toYaml .Values.config)) .Values.files) -}}
{{- end -}}

{{/* Pods start again when it changes: of a running daemon only log.level can be changed. */}}
{{- define "ratecat.checksum" -}}
{{- printf "%s%s" (include "ratecat.files" .) (toYaml .Values.secrets) | sha256sum -}}
{{- end -}}

{{/* As the units: a minute, and more when processor.graceful_stop is longer. */}}
{{- define "ratecat.graceSeconds" -}}
{{- $processor := .Values.config.processor | default dict -}}
{{- max 60 (add (int ($processor.graceful_stop | default 30)) 30) -}}
{{- end -}}

{{/*
The template of a pod. Of: root, component, command (arguments of ratecat), files and secret (names of ConfigMap and Secret), data (volume
source of /var/lib/ratecat), serviceAccount, and optionally annotations, checksum, more (further keys of the container), resources, spec.
*/}}
{{- define "ratecat.pod" -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- include "ratecat.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- $annotations := merge (dict) (.annotations | default dict) (.checksum | default dict) }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- toYaml .spec | nindent 2 }}
  serviceAccountName: {{ .serviceAccount }}
  automountServiceAccountToken: false
  # Variables of services would look like those of Ratecat's examples.
  enableServiceLinks: false
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- $always := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") }}
    {{- toYaml (merge $always $values.podSecurityContext) | nindent 4 }}
  containers:
    - name: ratecat
      image: {{ include "ratecat.image" .root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: {{ append .command "--config=/etc/ratecat/ratecat.yml" | toJson }}
      env:
        - name: CREDENTIALS_DIRECTORY
          value: /run/credentials/ratecat
        {{- with $values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .more }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
      {{- with .resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: configuration
          mountPath: /etc/ratecat
          readOnly: true
        {{- if .secret }}
        - name: secrets
          mountPath: /run/credentials/ratecat
          readOnly: true
        {{- end }}
        - name: data
          mountPath: /var/lib/ratecat
        - name: tmp
          mountPath: /tmp
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: configuration
      configMap:
        name: {{ .files }}
        defaultMode: 0440
    {{- if .secret }}
    - name: secrets
      secret:
        secretName: {{ .secret }}
        defaultMode: 0440
    {{- end }}
    - name: data
      {{- toYaml .data | nindent 6 }}
    - name: tmp
      emptyDir: {}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- range $key := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" }}
  {{- with get $values $key }}
  {{ $key }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end -}}

{{/* Keys of the container of a daemon. Of: root, metricsPort, servesApi, and optionally migrates (it changes tables when it starts). */}}
{{- define "ratecat.daemon" -}}
{{- $config := .root.Values.config -}}
{{- $hasMetrics := $config.metrics_server.enabled -}}
{{- $scheme := ternary "HTTPS" "HTTP" (not (empty $config.api.tls)) -}}
{{- if or .servesApi $hasMetrics -}}
ports:
  {{- if .servesApi }}
  - name: api
    containerPort: {{ $config.api.port }}
  {{- end }}
  {{- if $hasMetrics }}
  - name: metrics
    containerPort: {{ .metricsPort }}
  {{- end }}
# The process answers. Three minutes, as the watchdog of the units: a large statement on SQLite may keep it busy for a while.
livenessProbe:
  {{- if $hasMetrics }}
  httpGet:
    path: /healthz
    port: metrics
  {{- else }}
  tcpSocket:
    port: api
  {{- end }}
  periodSeconds: 30
  timeoutSeconds: 10
  failureThreshold: 6
{{- if .migrates }}
# A day until the API is there, which is after the tables: killed in the middle of a statement, SQLite would begin it anew each time.
startupProbe:
  httpGet:
    path: /healthcheck
    port: api
    scheme: {{ $scheme }}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 8640
{{- end }}
readinessProbe:
  httpGet:
    {{- if .servesApi }}
    path: /healthcheck
    port: api
    scheme: {{ $scheme }}
    {{- else }}
    path: /healthz
    port: metrics
    {{- end }}
  periodSeconds: 10
  timeoutSeconds: 10
{{- end }}
{{- if .servesApi }}
# Callers still come until all nodes have taken the pod out of the Service.
lifecycle:
  preStop:
    exec:
      command: [node, -e, "setTimeout(() => undefined, 5000)"]
{{- end }}
{{- end -}}

{{/* A Deployment. Of: what ratecat.pod and ratecat.daemon need but more, spec; and replicas, strategy. */}}
{{- define "ratecat.deployment" -}}
{{- $name := printf "%s-%s" (include "ratecat.fullname" .root) .component -}}
{{- $grace := include "ratecat.graceSeconds" .root | int -}}
{{- $spec := dict "terminationGracePeriodSeconds" (ternary (add $grace 5) $grace .servesApi) -}}
{{- $secret := ternary (include "ratecat.fullname" .root) .root.Values.existingSecret (not (empty .root.Values.secrets)) -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  labels:
    {{- include "ratecat.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  replicas: {{ ternary 0 (int .replicas) .root.Values.stopped }}
  strategy:
    type: {{ .strategy }}
  selector:
    matchLabels:
      {{- include "ratecat.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  template:
    {{- $checksum := dict "ratecat/configuration" (include "ratecat.checksum" .root) }}
    {{- $own := dict "spec" $spec "checksum" $checksum "secret" $secret "files" (include "ratecat.fullname" .root) "serviceAccount" (include "ratecat.serviceAccount" .root) "more" (include "ratecat.daemon" . | fromYaml) }}
    {{- include "ratecat.pod" (merge $own .) | nindent 4 }}
{{- end -}}
