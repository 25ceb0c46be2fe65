#!/usr/bin/env bash
# Renews .sqlx, what the compiler knows about the checked queries, against a throw-away PostgreSQL.
# `prepare.sh --check` changes nothing and fails when .sqlx is out of date.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$(scripts/setup.sh postgres-dir)
# Not in $TMPDIR: the server's user must be able to enter it, and the path of a socket has to be short.
work=$(mktemp -d /tmp/kijko-prepare.XXXXXX)
mkdir "$work/sqlx"
server() { "$bin/$1" "${@:2}"; }
if ((EUID == 0)); then # PostgreSQL refuses to run as root.
    chown postgres "$work"
    server() { (cd / && runuser -u postgres -- "$bin/$1" "${@:2}"); }
fi
trap 'server pg_ctl -D "$work/cluster" -m immediate stop >/dev/null 2>&1; rm -rf "$work"' EXIT

server initdb -D "$work/cluster" -U postgres -A trust -E UTF8 --locale=C --no-sync >/dev/null
server pg_ctl -D "$work/cluster" -l "$work/log" -o "-k $work -c listen_addresses= -c fsync=off" -w start >/dev/null
psql() {
    PGOPTIONS='-c client_min_messages=warning' PATH="$bin:$PATH" \
        command psql -X -q -v ON_ERROR_STOP=1 -h "$work" "$@"
}
psql -U postgres -c 'CREATE ROLE kijko_owner LOGIN CREATEROLE' -c 'CREATE DATABASE kijko OWNER kijko_owner'

# Kijko migrates its database itself, but cannot be compiled while .sqlx is out of date. So the same SQL is run
# from outside: what both migrators begin with, the job engine's migrations, and ours.
engine=$(cargo metadata --format-version 1 | grep -o '"[^"]*/graphile_worker_migrations-[^"/]*/Cargo.toml"' | tr -d '"')
{
    echo 'CREATE SCHEMA graphile_worker;
          CREATE TABLE graphile_worker.migrations (id int PRIMARY KEY, ts timestamptz NOT NULL DEFAULT now(),
              breaking boolean NOT NULL DEFAULT false);
          CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL,
              installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, checksum bytea NOT NULL,
              execution_time bigint NOT NULL);'
    sed 's/:GRAPHILE_WORKER_SCHEMA/graphile_worker/g' "${engine%/Cargo.toml}"/src/sql/*.sql
    cat migrations/*.sql
} | psql -1 -U kijko_owner -d kijko >/dev/null

touch crates/kijko-core/src/lib.rs # The queries are looked at only while their crate is compiled.
DATABASE_URL="postgres://kijko_owner@localhost/kijko?host=$work" SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$work/sqlx" \
    cargo check -p kijko-core
[[ $(ls "$work/sqlx") ]]

if [[ ${1:-} == --check ]]; then
    diff -rq .sqlx "$work/sqlx" || {
        echo "The metadata of the checked queries is out of date: run 'make prepare' and commit .sqlx." >&2
        exit 1
    }
else
    rm -f .sqlx/query-*.json
    cp "$work"/sqlx/query-*.json .sqlx/
fi
