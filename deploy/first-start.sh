#!/bin/sh
# Makes `.env` for docker-compose.yml with secrets of this installation's own; never overwrites one.
set -eu
cd "$(dirname "$0")/.."
if [ -e .env ]; then
    echo ".env is there already; nothing changed" >&2
    exit 0
fi
umask 077
secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
{
    echo "POSTGRES_PASSWORD=$(secret)"
    for service in ROSTER LENDING COMPENSATION GATEWAY; do
        echo "${service}_DATABASE_PASSWORD=$(secret)"
    done
    echo "KECHUANG_SECRET=$(secret)"
    echo "KAFKA_CLUSTER_ID=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n' | cut -c1-22)"
} > .env
echo "made .env with new secrets; keep it safe, then: docker compose up -d" >&2
