#!/bin/sh
# First start of the PostgreSQL container: a database and a role per service; no role can open another's.
set -eu
for service in roster lending compensation gateway; do
    password=$(eval "printf %s \"\$$(printf %s "$service" | tr '[:lower:]' '[:upper:]')_DATABASE_PASSWORD\"")
    psql -v ON_ERROR_STOP=1 -v role="$service" -v password="$password" -U "$POSTGRES_USER" -d postgres <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE;
CREATE DATABASE :"role" OWNER :"role" ENCODING 'UTF8' TEMPLATE template0 LOCALE 'C.UTF-8';
REVOKE ALL ON DATABASE :"role" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"role" TO :"role";
SQL
done
