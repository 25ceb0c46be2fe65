#!/usr/bin/env bash
# Sees to what Kijko is built and run with: a C compiler, curl, PostgreSQL's programs and Rust.
#
# Installs what is missing on Debian and Ubuntu. Elsewhere, or where it may not, it says what to install.
# `setup.sh tests` sees to what the tests need beside that: Redis, pip for a mail server, and npm for a provider of sign-in.
# `setup.sh postgres-dir` only prints the folder of PostgreSQL's programs.
set -euo pipefail
cd "$(dirname "$0")/.."

oldest_postgres=15
oldest_rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

has() { type -P "$1" >/dev/null; }

# The newest PostgreSQL that is new enough, among the places where Kijko itself looks.
postgres_dir() {
    local dir major newest=$((oldest_postgres - 1)) found=
    for dir in "${POSTGRES_BIN_DIR:-}" /usr/lib/postgresql{/*,*}/bin /usr/pgsql-*/bin /usr/libexec/postgresql* \
        /{opt/homebrew,usr/local,home/linuxbrew/.linuxbrew}/opt/postgresql*/bin \
        /Applications/Postgres.app/Contents/Versions/*/bin /opt/local/lib/postgresql*/bin /usr/local/pgsql/bin \
        "$(dirname "$(type -P postgres)")"; do
        [[ -x $dir/initdb && -x $dir/postgres && -x $dir/pg_ctl ]] || continue
        major=$("$dir/postgres" --version | sed 's/.*(PostgreSQL) \([0-9]*\).*/\1/')
        if ((major > newest)); then newest=$major found=$dir; fi
    done
    [[ $found ]] && echo "$found"
}

# Says which packages would bring what is missing, Rust apart.
missing_packages() {
    # A compiler without the C library's headers is of no use.
    cc -E -x c - <<<'#include <stdlib.h>' >/dev/null 2>&1 || echo "$compiler"
    has curl || echo "$curl"
    postgres_dir >/dev/null || echo "$postgres"
    [[ $purpose == tests ]] || return 0
    { has redis-server && has redis-cli; } || echo "$redis"
    python3 -m pip --version >/dev/null 2>&1 || echo "$pip"
    { has node && has npm; } || echo "$npm"
}

rust_is_new_enough() {
    local version
    version=$(cargo --version 2>/dev/null && rustc --version 2>/dev/null) || return 1
    version=$(cut -d' ' -f2 <<<"$version" | tail -n1)
    [[ $(printf '%s\n' "$oldest_rust" "$version" | sort -V | head -n1) == "$oldest_rust" ]]
}

as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }
may_be_root() { ((EUID == 0)) || { has sudo && { sudo -n true 2>/dev/null || { [[ -t 0 ]] && sudo -v; }; }; }; }
apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@"; }

install_packages() {
    apt update || true # An old list may still do.
    if ! has cargo && [[ $(apt-cache search --names-only '^rustup$') ]]; then
        set -- "$@" rustup
    fi
    (($#)) || return 0
    echo "Installing $*"
    # Kijko runs a PostgreSQL of its own, so the package must not set one up and start it.
    local no_cluster=/etc/postgresql-common/createcluster.d/kijko.conf
    if [[ " $* " == *" $postgres "* ]]; then
        as_root mkdir -p "${no_cluster%/*}"
        as_root tee "$no_cluster" <<<'create_main_cluster = false' >/dev/null
    fi
    # Nor Redis: the tests start it themselves.
    local no_services=/usr/sbin/policy-rc.d
    if [[ " $* " == *" $redis "* && ! -e $no_services ]]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$no_services" >/dev/null
        as_root chmod 755 "$no_services"
    else
        no_services=
    fi
    apt install -y --no-install-recommends "$@" || true # What is missing then is told below.
    as_root rm -f "$no_cluster" ${no_services:+"$no_services"}
}

purpose=${1:-}
if [[ $purpose == postgres-dir ]]; then
    postgres_dir
    exit
fi

if has apt-get; then
    compiler='gcc libc6-dev' curl='curl ca-certificates' postgres=postgresql redis=redis-server pip=python3-pip
    npm='nodejs npm'
    command='sudo apt-get install'
elif has dnf; then
    compiler=gcc curl=curl postgres=postgresql-server redis=redis pip=python3-pip npm=nodejs-npm command='sudo dnf install'
elif has brew; then
    compiler=gcc curl=curl postgres=postgresql@17 redis=redis pip=python npm=node command='brew install'
else
    compiler='a C compiler,' curl='curl,' postgres='the PostgreSQL server,' redis='Redis,' pip='Python with pip,'
    npm='Node.js 20 with npm,'
    command='install these:'
fi

packages=$(missing_packages)
if has apt-get && { [[ $packages ]] || ! has cargo; } && may_be_root; then
    # shellcheck disable=SC2086 # One word per package.
    install_packages $packages
    packages=$(missing_packages)
fi

failed=
if [[ $packages ]]; then
    echo "Kijko needs more than is installed here. Please run:" >&2
    # shellcheck disable=SC2086
    echo "    $command" $packages >&2
    [[ $packages != *"$postgres"* ]] || echo "PostgreSQL must be of version $oldest_postgres or newer." >&2
    failed=1
fi
if has rustup && ! cargo --version >/dev/null 2>&1; then
    rustup default stable # It has no toolchain yet.
fi
if ! rust_is_new_enough; then
    echo "Kijko needs Rust $oldest_rust or newer. Please run 'rustup update stable'," >&2
    echo "or, where there is no rustup, install it as https://rustup.rs says." >&2
    failed=1
fi
[[ ! $failed ]]
