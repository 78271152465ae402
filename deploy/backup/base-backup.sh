#!/bin/sh
# One base backup of the whole cluster, all four databases at one moment: made beside, verified, and only then given its
# name. Then the oldest are let go, and the archived WAL that no kept one needs.
# Where from: PGHOST, PGUSER, PGPASSWORD of a role with REPLICATION. Where to: BACKUP_FOLDER. How many: BACKUP_KEEP.
set -eu
folder=${BACKUP_FOLDER:-/backup}
keep=${BACKUP_KEEP:-14}
umask 077
mkdir -p "$folder/base"
exec 9> "$folder/base/.lock"
flock -n 9 || { echo "another base backup is being made" >&2; exit 1; }
half=$folder/base/.half
rm -rf "$half"
trap 'rm -rf "$half"' EXIT

pg_basebackup --pgdata="$half" --format=tar --gzip --wal-method=stream --checkpoint=fast \
    --manifest-checksums=SHA256 --no-password
pg_verifybackup --quiet --no-parse-wal --format=tar "$half"
tar -xzOf "$half/base.tar.gz" backup_label | sed -n 's/^START WAL LOCATION: .*(file \([0-9A-F]*\))$/\1/p' \
    > "$half/first-wal"
[ -s "$half/first-wal" ] || { echo "the backup does not say where its WAL begins" >&2; exit 1; }
sync "$half"/* "$half"
# Named by its end: a restore to a moment needs a base that was finished before it.
stamp=$(date -u +%Y%m%dT%H%M%SZ)
mv "$half" "$folder/base/$stamp"
sync "$folder/base"
echo "$folder/base/$stamp"

# Names sort by time. The newest $keep stay.
for old in $(ls "$folder/base" | sort -r | tail -n "+$((keep + 1))"); do
    rm -rf "${folder:?}/base/$old"
done
oldest=$(ls "$folder/base" | sort | head -n 1)
if [ -d "$folder/wal" ]; then
    pg_archivecleanup -x .gz "$folder/wal" "$(cat "$folder/base/$oldest/first-wal")"
fi
