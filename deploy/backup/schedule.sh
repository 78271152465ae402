#!/bin/sh
# A base backup when the container starts and none is younger than a day, and then every day at BACKUP_HOUR (UTC).
# A failed one is tried again after ten minutes; the health check (healthy.sh) tells when there is none.
set -u
here=$(cd "$(dirname "$0")" && pwd)
hour=${BACKUP_HOUR:-18}
trap 'exit 0' TERM INT
rest() { sleep "$1" & wait $!; }
while :; do
    due=1
    if "$here/healthy.sh" 24; then
        seconds=$(($(date -u +%s) % 86400))
        due=$(((hour * 3600 - seconds + 86400) % 86400))
    fi
    rest "$((due + 1))"
    until "$here/base-backup.sh"; do rest 600; done
    rest 3600
done
