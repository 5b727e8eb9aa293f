{{- define "hanseg.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* What a pod of a part is found by: dict root, part */}}
{{- define "hanseg.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "hanseg.labels" -}}
{{ include "hanseg.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* dict root, image */}}
{{- define "hanseg.image" -}}
{{ .root.Values.image.registry }}/{{ .image }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* What every pod has in common: dict root, values of the part */}}
{{- define "hanseg.pod" -}}
automountServiceAccountToken: false
# a Service called hanseg would put variables into the pods that begin as the settings do
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every container has in common: dict root, image, values of the part */}}
{{- define "hanseg.container" -}}
image: {{ include "hanseg.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
resources: {{- toYaml .values.resources | nindent 2 }}
{{- end }}

{{/*
The health check of the images, asked as compose asks it: dict command, seconds.
It makes no container start anew: a worker whose database is away for a while would lose
the job it has. What is beyond help ends by itself.
*/}}
{{- define "hanseg.probe" -}}
readinessProbe:
  exec: { command: {{ .command | toJson }} }
  periodSeconds: 15
  timeoutSeconds: {{ .seconds | default 10 }}
  failureThreshold: 3
{{- end }}

{{/* Variables of the API, the workers and the sweep: dict root, grace (seconds), more */}}
{{- define "hanseg.env" -}}
- { name: HANSEG_STAGE_SECONDS, value: {{ .root.Values.stageSeconds | toString | quote }} }
- { name: HANSEG_GRACE_SECONDS, value: {{ .grace | toString | quote }} }
- { name: HANSEG_STORE_URI, value: {{ include "hanseg.storeUri" .root | quote }} }
{{- if .root.Values.models.claim }}
- { name: HANSEG_MODELS, value: /var/lib/hanseg-models }
{{- end }}
{{- range $name, $value := .more }}
- { name: {{ $name }}, value: {{ $value | toString | quote }} }
{{- end }}
{{- range $name, $value := .root.Values.settings }}
- { name: {{ $name }}, value: {{ $value | toString | quote }} }
{{- end }}
{{- end }}

{{- define "hanseg.storeUri" -}}
{{ .Values.store.uri | default "file:///var/lib/hanseg-store/payloads" }}
{{- end }}

{{- define "hanseg.claim" -}}
{{ .Values.store.claim.existing | default (printf "%s-store" (include "hanseg.name" .)) }}
{{- end }}

{{/* Where those variables' files are: dict root */}}
{{- define "hanseg.mounts" -}}
- { name: secrets, mountPath: /run/hanseg, readOnly: true }
- { name: data, mountPath: /var/lib/hanseg }
- { name: scratch, mountPath: /var/lib/hanseg/scratch }
- { name: tmp, mountPath: /tmp }
{{- if not .root.Values.store.uri }}
- { name: store, mountPath: /var/lib/hanseg-store }
{{- end }}
{{- if .root.Values.models.claim }}
- { name: models, mountPath: /var/lib/hanseg-models, readOnly: true }
{{- end }}
{{- end }}

{{/* dict root, keys (of the Secret), scratch (its size) */}}
{{- define "hanseg.volumes" -}}
- name: secrets
  secret:
    secretName: {{ .root.Values.secrets.name }}
    defaultMode: 0440
    items:
    {{- range .keys }}
      - { key: {{ . }}, path: {{ . }} }
    {{- end }}
- name: data
  emptyDir: { sizeLimit: {{ .root.Values.store.cache }} }
- name: scratch
  emptyDir: { sizeLimit: {{ .scratch }} }
- name: tmp
  emptyDir: { sizeLimit: 256Mi }
{{- if not .root.Values.store.uri }}
- name: store
  persistentVolumeClaim: { claimName: {{ include "hanseg.claim" .root }} }
{{- end }}
{{- if .root.Values.models.claim }}
- name: models
  persistentVolumeClaim: { claimName: {{ .root.Values.models.claim }}, readOnly: true }
{{- end }}
{{- end }}

{{/*
A worker of a queue, which finishes its stage when it is told to stop: dict root, part,
grace, queue, image, module, values, keys, states, gpu, more
*/}}
{{- define "hanseg.worker" -}}
{{- $name := printf "%s-%s" (include "hanseg.name" .root) .part }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  labels: {{- include "hanseg.labels" . | nindent 4 }}
spec:
  {{- if not .root.Values.scaling.enabled }}
  replicas: {{ .values.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  selector:
    matchLabels: {{- include "hanseg.selector" . | nindent 6 }}
  strategy:
    # no spare GPU is asked for; the others come first, then the old ones go
    rollingUpdate: {{ ternary "{ maxSurge: 0, maxUnavailable: 1 }" "{ maxSurge: 1, maxUnavailable: 0 }" .gpu }}
  template:
    metadata:
      labels: {{- include "hanseg.labels" . | nindent 8 }}
    spec:
      {{- include "hanseg.pod" . | nindent 6 }}
      # more than the hard limit of a stage, after which nothing is left to wait for
      terminationGracePeriodSeconds: {{ add .root.Values.stageSeconds 60 }}
      {{- with .values.runtimeClassName }}
      runtimeClassName: {{ . }}
      {{- end }}
      containers:
        - name: worker
          {{- include "hanseg.container" . | nindent 10 }}
          command: [python, -m, {{ .module }}]
          env:
            {{- include "hanseg.env" . | nindent 12 }}
          {{- include "hanseg.probe" (dict "command" (list "python" "-m" "hanseg_shared.jobs.probe" .queue)) | nindent 10 }}
          volumeMounts:
            {{- include "hanseg.mounts" . | nindent 12 }}
            - { name: shm, mountPath: /dev/shm }
      volumes:
        {{- include "hanseg.volumes" (dict "root" .root "keys" .keys "scratch" .values.scratch) | nindent 8 }}
        - name: shm
          emptyDir: { medium: Memory, sizeLimit: 256Mi }
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  labels: {{- include "hanseg.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "hanseg.selector" . | nindent 6 }}
{{- if .root.Values.scaling.enabled }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ $name }}
  labels: {{- include "hanseg.labels" . | nindent 4 }}
spec:
  scaleTargetRef: { name: {{ $name }} }
  minReplicaCount: {{ .values.min }}
  maxReplicaCount: {{ .values.max }}
  pollingInterval: {{ .root.Values.scaling.pollSeconds }}
  cooldownPeriod: {{ .root.Values.scaling.calmSeconds }}
  # a database that does not answer is no reason to stop anything
  fallback: { failureThreshold: 3, replicas: {{ max 1 .values.min }}, behavior: currentReplicasIfHigher }
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleDown:
          # a worker that is let go finishes its stage before it ends
          stabilizationWindowSeconds: {{ .root.Values.scaling.calmSeconds }}
          policies: [{ type: Pods, value: 1, periodSeconds: 60 }]
  triggers:
    - type: postgresql
      metadata:
        # jobs that wait for this stage or are in it: one worker each
        query: SELECT COUNT(*) FROM jobs WHERE state IN ({{ .states }})
        targetQueryValue: "1"
      authenticationRef: { name: {{ include "hanseg.name" .root }}-jobs }
{{- end }}
{{- end }}
