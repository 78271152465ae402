#!/bin/sh
# restore.sh [TIME] [BASE]: puts a base backup where the cluster belongs and tells the server to replay the archive up to
# TIME (an ISO instant with its zone), or to its end without one. BASE: the newest that was finished before TIME, when
# not named. The server must not run. A cluster that lies there is moved aside, never deleted. The recovery itself
# happens on the server's next start.
set -eu
folder=${BACKUP_FOLDER:-/backup}
here=$(cd "$(dirname "$0")" && pwd)
time=${1:-}
case $time in
    "") until=99999999T999999Z ;;
    *Z | *[+-][0-9][0-9]:[0-9][0-9]) until=$(date -u -d "$time" +%Y%m%dT%H%M%SZ) ;;
    *) echo "$time has no zone: say it like 2026-11-24T18:30:00+08:00" >&2; exit 1 ;;
esac
base=${2:-$(ls "$folder/base" | sort | awk -v until="$until" '$0 <= until' | tail -n 1)}
from=$folder/base/$base
if [ -z "$base" ] || [ ! -e "$from/base.tar.gz" ]; then
    echo "no base backup ${base:-finished by then} in $folder/base" >&2
    exit 1
fi
if [ -n "${PGHOST:-}" ]; then
    answer=0
    pg_isready -q -t 3 || answer=$?
    if [ "$answer" -le 1 ]; then
        echo "the server runs: stop it first" >&2
        exit 1
    fi
fi
pg_verifybackup --quiet --no-parse-wal --format=tar --ignore=first-wal "$from"

if [ -e "$PGDATA" ] && [ -n "$(ls -A "$PGDATA")" ]; then
    aside=$PGDATA.before-$(date -u +%Y%m%dT%H%M%SZ)
    mv "$PGDATA" "$aside"
    echo "what was there lies in $aside now"
fi
umask 077
mkdir -p "$PGDATA"
tar -xzf "$from/base.tar.gz" -C "$PGDATA"
tar -xzf "$from/pg_wal.tar.gz" -C "$PGDATA/pg_wal"
settings=$PGDATA/postgresql.auto.conf
# An earlier restore's target must not bind this one.
sed -i '/^recovery_target\|^restore_command/d' "$settings"
{
    echo "restore_command = 'BACKUP_FOLDER=\"$folder\" \"$here/fetch.sh\" %f \"%p\"'"
    echo "recovery_target_timeline = 'latest'"
    echo "recovery_target_action = 'promote'"
    # The zone as a number: while it reads its settings the server does not know zones by name, not even Z.
    [ -z "$time" ] || echo "recovery_target_time = '$(date -u -d "$time" '+%Y-%m-%d %H:%M:%S.%6N+00')'"
} >> "$settings"
touch "$PGDATA/recovery.signal"
sync
echo "restored $base; on its next start the server goes on to ${time:-the end of the archive}"
