#!/bin/sh
# Makes `.env` for docker-compose.yml with secrets of this installation's own. Safe to run again: what is there stays,
# only what is missing is added (an upgrade may need a new secret). Nothing starts without them.
set -eu
cd "$(dirname "$0")/.."
umask 077
secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
# 16 bytes in Kafka's base64 form; the last of 22 characters has only two bits to say.
cluster_id() { printf '%sA' "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n' | cut -c1-21)"; }

half=.env.new
if [ -e .env ]; then cp .env "$half"; else : > "$half"; fi
trap 'rm -f "$half"' EXIT
made=0
keep() { # name, command that makes the value
    if ! grep -q "^$1=." "$half"; then
        printf '%s=%s\n' "$1" "$($2)" >> "$half"
        made=$((made + 1))
    fi
}

keep POSTGRES_PASSWORD secret
keep OPERATOR_DATABASE_PASSWORD secret
keep BACKUP_DATABASE_PASSWORD secret
for service in ROSTER LENDING COMPENSATION GATEWAY; do
    keep "${service}_DATABASE_PASSWORD" secret
    keep "${service}_KAFKA_PASSWORD" secret
done
keep KAFKA_OPERATOR_PASSWORD secret
keep KAFKA_CLUSTER_ID cluster_id
keep KECHUANG_SECRET secret
keep GRAFANA_PASSWORD secret
if [ "$made" -gt 0 ]; then
    mv "$half" .env
    echo "made $made secrets in .env; keep a copy of it apart from this machine, then: docker compose up -d" >&2
else
    echo ".env has every secret; nothing changed" >&2
fi
