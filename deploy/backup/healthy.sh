#!/bin/sh
# healthy.sh: whether the newest base backup is younger than 26 hours, and the last WAL segment the server wanted to archive
# was archived. healthy.sh HOURS: only whether there is a base backup younger than so many hours.
set -eu
limit=$((${1:-26} * 60))
[ -n "$(find "${BACKUP_FOLDER:-/backup}/base" -mindepth 1 -maxdepth 1 -name '2*' -mmin "-$limit" 2>/dev/null)" ]
[ $# -eq 0 ] || exit 0
archived=$(psql -XAtqd postgres -c \
    'SELECT last_failed_time IS NULL OR last_archived_time > last_failed_time FROM pg_stat_archiver')
if [ "$archived" != t ]; then
    echo "the server cannot archive its WAL: see its log" >&2
    exit 1
fi
