#!/bin/sh
# A base backup at once when none is younger than a day, and then every day at BACKUP_HOUR (UTC). A failed one is tried
# again after ten minutes; the health check (healthy.sh) tells when there is none.
set -u
here=$(cd "$(dirname "$0")" && pwd)
hour=${BACKUP_HOUR:-18}
trap 'kill "${!:-}" 2>/dev/null; exit 0' TERM INT
rest() { sleep "$1" & wait $!; }
while :; do
    if "$here/healthy.sh" 24; then
        rest $(((hour * 3600 - $(date -u +%s) % 86400 + 86400) % 86400))
    fi
    until "$here/base-backup.sh"; do rest 600; done
    rest 60
done
