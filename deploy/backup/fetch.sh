#!/bin/sh
# restore_command: fetch.sh NAME PATH. Brings one WAL segment back; the status says whether the archive has it.
set -eu
kept=${BACKUP_FOLDER:-/backup}/wal/$1.gz
[ -e "$kept" ] || exit 1
gzip -dc "$kept" > "$2"
