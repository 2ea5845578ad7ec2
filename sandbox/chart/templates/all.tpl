# Answers 200 on / and /health of every port; /instance is an id that is drawn when the pod starts.
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: {{ .Release.Name }} }
spec:
  serviceName: {{ .Release.Name }}
  selector: { matchLabels: { app: {{ .Release.Name }} } }
  template:
    metadata: { labels: { app: {{ .Release.Name }} } }
    spec:
      terminationGracePeriodSeconds: 1
      enableServiceLinks: false
      tolerations: [{ key: node-role.kubernetes.io/control-plane, effect: NoSchedule }]
      containers:
        - name: {{ .Release.Name }}
          image: {{ .Values.image }}
          imagePullPolicy: Never
          command:
            - sh
            - -c
            - |
              mkdir -p /www
              cat /proc/sys/kernel/random/uuid > /www/instance
              echo '{"ok":true}' > /www/index.html
              echo '{"ok":true}' > /www/health
              {{- range .Values.ports }}
              httpd -p {{ .port }} -h /www
              {{- end }}
              exec sleep 1000000000
          ports: [{{ range .Values.ports }}{ name: {{ .name }}, containerPort: {{ .port }} }, {{ end }}]
          readinessProbe: { httpGet: { path: /health, port: {{ (first .Values.ports).port }} }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: {{ .Release.Name }} }
spec:
  type: {{ .Values.service.type }}
  selector: { app: {{ .Release.Name }} }
  ports:
    {{- range .Values.ports }}
    - { name: {{ .name }}, port: {{ .port }}, targetPort: {{ .port }}{{ if eq $.Values.service.type "NodePort" }}, nodePort: {{ .nodePort }}{{ end }} }
    {{- end }}
