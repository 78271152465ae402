#!/bin/sh
# archive_command: archive.sh PATH NAME. Puts one finished WAL segment into the archive, compressed: written beside,
# on the disk before it has its name, and never over another. The same segment again (after a crash) is fine, a
# different one of the same name is an error that keeps the segment in the server and shows in its log.
set -eu
archive=${BACKUP_FOLDER:-/backup}/wal
kept=$archive/$2.gz
if [ -e "$kept" ]; then
    gzip -dc "$kept" | cmp -s - "$1" && exit 0
    echo "$kept is there and differs" >&2
    exit 1
fi
mkdir -p "$archive"
half=$archive/.$2.half
trap 'rm -f "$half"' EXIT
gzip -c "$1" > "$half"
sync "$half"
ln "$half" "$kept"
sync "$archive"
