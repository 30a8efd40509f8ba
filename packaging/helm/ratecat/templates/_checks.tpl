{{/* "true" when the database is SQLite, as far as the values tell. */}}
{{- define "ratecat.isSqlite" -}}
{{- $database := .Values.config.database | default dict -}}
{{- $file := $database.url_file | default "" -}}
{{- if $file -}}
{{- hasPrefix "sqlite:" (get .Values.secrets (base $file) | default "" | trim) -}}
{{- else -}}
{{- hasPrefix "sqlite:" ($database.url | default "sqlite:") -}}
{{- end -}}
{{- end -}}

{{/* What would only be found out in the cluster, or not at all. */}}
{{- define "ratecat.check" -}}
{{- $config := .Values.config -}}
{{- $api := $config.api -}}
{{- if and .Values.secrets .Values.existingSecret -}}
{{- fail "'secrets' and 'existingSecret' are both set: give one of them" -}}
{{- end -}}
{{- if and (eq .Values.layout "services") (eq (include "ratecat.isSqlite" .) "true") -}}
{{- fail "SQLite is a file that only one pod can have, and 'layout: services' has several: set 'layout: single', or let config.database name a MySQL, MariaDB or Galera server" -}}
{{- end -}}
{{- if not .Values.existingSecret -}}
{{- range regexFindAll "\\$\\{CREDENTIALS_DIRECTORY\\}/[-._a-zA-Z0-9]+" ($config | toYaml) -1 -}}
{{- $key := base . -}}
{{- if not (hasKey $.Values.secrets $key) -}}
{{- fail (printf "config names the secret '%s', which is not there: set 'secrets.%s', or 'existingSecret' to a Secret that has the key" $key $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (ne ($api.auth | default "noauth") "keystone") (not $api.allow_insecure_bind) -}}
{{- fail "whoever reaches the API would be an administrator: set config.api.auth to keystone, or config.api.allow_insecure_bind to true and keep strangers away with a network policy" -}}
{{- end -}}
{{- if and (not $config.pipelines) (not (and $config.collect $config.fetcher $config.collector)) -}}
{{- fail "config says not what is to be rated: set config.collect, config.fetcher and config.collector, or config.pipelines" -}}
{{- end -}}
{{- range $config.pipelines | default (list $config) -}}
{{- $metrics := (.collect | default dict).metrics | default "" -}}
{{- if not $metrics -}}
{{- fail "collect.metrics is missing: name the metrics file, './metrics.yml', and give its text in files" -}}
{{- end -}}
{{- if and (hasPrefix "./" $metrics) (not (hasKey $.Values.files (trimPrefix "./" $metrics))) -}}
{{- fail (printf "collect.metrics names '%s', which is not in files: --set-file 'files.%s=FILE'" $metrics (trimPrefix "./" $metrics | replace "." "\\.")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
