#!/bin/sh
# healthy.sh [HOURS]: whether the newest base backup is younger than so many hours (26 when not told).
set -eu
limit=$((${1:-26} * 60))
[ -n "$(find "${BACKUP_FOLDER:-/backup}/base" -mindepth 1 -maxdepth 1 -name '2*' -mmin "-$limit" 2>/dev/null)" ]
