dltrain plan plan-limit.yaml --limit 4KiB >/dev/null
