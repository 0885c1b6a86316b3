{{/*
The container of the sidecar. Copy this file into the chart of your app, and include it as the first init container:
  initContainers:
    {{- include "countersign.sidecar" (dict "image" "registry.example.com/countersign:0.1.0" "config" "countersign") | nindent 8 }}
`config` is the name of the app's ConfigMap with the variables of countersign.
*/}}
{{- define "countersign.sidecar" -}}
- name: countersign
  image: {{ required "countersign.sidecar needs an image" .image | quote }}
  restartPolicy: Always
  env:
    - name: COUNTERSIGN_ADMIN
      value: 0.0.0.0:4101
    - name: COUNTERSIGN_LOG__FORMAT
      value: json
    - name: TOKIO_WORKER_THREADS
      value: "2"
  envFrom:
    - configMapRef:
        name: {{ required "countersign.sidecar needs the name of a ConfigMap" .config }}
  ports:
    - name: countersign-adm
      containerPort: 4101
  {{- include "countersign.probes" . | nindent 2 }}
  resources:
    requests:
      cpu: 10m
      memory: 32Mi
    limits:
      memory: 128Mi
  {{- include "countersign.securityContext" . | nindent 2 }}
{{- end }}

{{- define "countersign.probes" -}}
startupProbe:
  httpGet:
    path: /startupz
    port: countersign-adm
  periodSeconds: 1
  failureThreshold: 120
livenessProbe:
  httpGet:
    path: /livez
    port: countersign-adm
  periodSeconds: 10
  failureThreshold: 3
{{- end }}

{{- define "countersign.securityContext" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities:
    drop:
      - ALL
  seccompProfile:
    type: RuntimeDefault
{{- end }}
