#!/bin/sh
# A database and a role per service; no role can open another's. Also the operator's role (the tools of
# `python -m services`: in each database it acts as that database's owner) and the backup's.
# Safe to run again, on every start: it makes what is missing and sets the passwords anew, so a service added later or a
# changed password needs nothing else. Where to: PGHOST, PGUSER, PGPASSWORD of a superuser.
set -eu
services="roster lending compensation gateway"
[ -n "${OPERATOR_DATABASE_PASSWORD:-}" ] || { echo "no password for operator: run deploy/first-start.sh" >&2; exit 1; }
[ -n "${BACKUP_DATABASE_PASSWORD:-}" ] || { echo "no password for backup: run deploy/first-start.sh" >&2; exit 1; }

run() {
    psql -X -q -v ON_ERROR_STOP=1 -d postgres "$@"
}

role() {
    run -v role="$1" -v password="$2" -v may="$3" <<'SQL'
SELECT format('CREATE ROLE %I', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
SELECT format('ALTER ROLE %I LOGIN PASSWORD %L NOSUPERUSER NOCREATEROLE NOBYPASSRLS %s', :'role', :'password', :'may') \gexec
SQL
}

role operator "$OPERATOR_DATABASE_PASSWORD" "NOCREATEDB NOREPLICATION"
role backup "$BACKUP_DATABASE_PASSWORD" "NOCREATEDB REPLICATION"
for service in $services; do
    password=$(eval "printf %s \"\$$(printf %s "$service" | tr '[:lower:]' '[:upper:]')_DATABASE_PASSWORD\"")
    [ -n "$password" ] || { echo "no password for $service: run deploy/first-start.sh" >&2; exit 1; }
    role "$service" "$password" "NOCREATEDB NOREPLICATION"
    run -v role="$service" <<'SQL'
SELECT format('CREATE DATABASE %1$I OWNER %1$I ENCODING ''UTF8'' TEMPLATE template0 '
              'LOCALE_PROVIDER builtin LOCALE ''C.UTF-8''', :'role')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'role') \gexec
REVOKE ALL ON DATABASE :"role" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"role" TO :"role";
GRANT :"role" TO operator;
ALTER ROLE operator IN DATABASE :"role" SET role TO :"role";
SQL
    echo "$service: database and role are there"
done
