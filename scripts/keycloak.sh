#!/usr/bin/env bash
# Keycloak for development and tests, on loopback, from a cache outside the repository.
#
#   keycloak.sh               fetches it, imports the realm of deploy/keycloak and starts it on port 8180
#   keycloak.sh fetch         only sees to it that everything is there, and prints Keycloak's folder
#   keycloak.sh serve PORT DIR
#                             starts an empty one whose database is in DIR, and stops it when standard input ends, so
#                             that it never outlives whoever started it; tests make the realms themselves
#
# KEYCLOAK_ZIP names a distribution that is here already; without it Maven fetches it from wherever Maven is set to
# look. KEYCLOAK_PORT and KIJKO_CACHE change the port and the cache.
set -euo pipefail
cd "$(dirname "$0")/.."

version=26.7.5
sha256=30ef87fb7101c43d29688d1ae80c0588ff4a151b3330e9f664bf9692d398658a
oldest_java=17
cache=${KIJKO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kijko}
home=$cache/keycloak-$version
port=${KEYCLOAK_PORT:-8180}
# What is built into the server at its first start; another list would build it again.
built=(--db=dev-file --cache=local)

has() { type -P "$1" >/dev/null; }

# The newest Java that is new enough.
java_home() {
    local dir major newest=$((oldest_java - 1)) found=
    for dir in "${JAVA_HOME:-}" /usr/lib/jvm/* "$(dirname "$(dirname "$(readlink -f "$(type -P java)")")")"; do
        [[ -x $dir/bin/java ]] || continue
        major=$("$dir/bin/java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
        if ((${major:-0} > newest)); then newest=$major found=$dir; fi
    done
    [[ $found ]] && echo "$found"
}

missing_packages() {
    java_home >/dev/null || echo default-jre-headless
    [[ -x $home/bin/kc.sh ]] && return
    has unzip || echo unzip
    [[ ${KEYCLOAK_ZIP:-} ]] || has mvn || echo maven
}

as_root() { if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi; }

ensure_packages() {
    local packages
    packages=$(missing_packages)
    [[ $packages ]] || return 0
    if has apt-get; then
        echo "Installing" $packages >&2
        # shellcheck disable=SC2086 # One word per package.
        { as_root apt-get -qq update; as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
            -o DPkg::Lock::Timeout=120 install --no-install-recommends $packages; } >&2 || true
        packages=$(missing_packages)
    fi
    [[ ! $packages ]] || { echo "Keycloak needs what is not installed here:" $packages >&2; return 1; }
}

fetch() {
    ensure_packages
    mkdir -p "$cache"
    # Of several that come at once, one fetches and the others wait.
    exec 9>"$cache/keycloak.lock"
    flock 9
    [[ -x $home/bin/kc.sh ]] || unpack
    [[ -e $home/built ]] || build
    exec 9>&-
}

unpack() {
    local zip=${KEYCLOAK_ZIP:-} work=$cache/keycloak.new
    rm -rf "$work"
    mkdir "$work"
    if [[ ! $zip ]]; then
        echo "Fetching Keycloak $version" >&2
        mvn -q -B -Dmaven.repo.local="$work/m2" dependency:get -Dtransitive=false \
            -Dartifact="org.keycloak:keycloak-quarkus-dist:$version:zip" >&2
        zip=$(ls "$work"/m2/org/keycloak/keycloak-quarkus-dist/"$version"/*.zip)
    fi
    sha256sum --quiet -c - <<<"$sha256  $zip" >&2 || { echo "$zip is not Keycloak $version" >&2; return 1; }
    unzip -q "$zip" -d "$work"
    mv "$work/keycloak-$version" "$home"
    rm -rf "$work"
}

# The first start compiles the configuration into the server, which takes half a minute and must not happen twice at once.
build() {
    local work
    work=$(mktemp -d)
    echo "Building Keycloak's configuration" >&2
    keycloak start-dev "${built[@]}" --db-url="$(database "$work")" --http-host=127.0.0.1 --http-port=0 \
        >"$work/log" 2>&1 9>&- &
    for _ in {1..1800}; do
        kill -0 $! 2>/dev/null && ! grep -q 'Running the server in development mode' "$work/log" || break
        sleep 0.1
    done
    grep -q 'Running the server in development mode' "$work/log" || { cat "$work/log" >&2; return 1; }
    kill $!
    wait $! || true
    touch "$home/built"
    rm -rf "$work"
}

keycloak() { JAVA_HOME=$(java_home) exec "$home/bin/kc.sh" "$@"; }

database() { echo "jdbc:h2:file:$1/keycloak;NON_KEYWORDS=VALUE"; }

case ${1:-} in
fetch)
    fetch
    echo "$home"
    ;;
serve)
    fetch
    set -m # It gets a process group of its own: kc.sh may run Java as a child.
    keycloak start-dev "${built[@]}" --db-url="$(database "$3")" --http-host=127.0.0.1 --http-port="$2" </dev/null &
    cat >/dev/null || true
    kill -- -$! && wait $! || true
    ;;
'')
    fetch
    data=$cache/keycloak-data
    mkdir -p "$data" "$home/data/import"
    cp deploy/keycloak/kijko-realm.json "$home/data/import/"
    [[ -s $data/client-secret ]] || (umask 077 && head -c 24 /dev/urandom | base64 | tr '+/' '-_' >"$data/client-secret")
    KEYCLOAK_CLIENT_SECRET=$(<"$data/client-secret")
    export KEYCLOAK_CLIENT_SECRET
    export KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD=admin # On loopback, for trying.
    cat <<END

Keycloak will be at http://127.0.0.1:$port (administrator: admin, password: admin). Run Kijko with it:

    KIJKO_AUTH_MODE=keycloak KEYCLOAK_URL=http://127.0.0.1:$port \\
        KEYCLOAK_CLIENT_SECRET_FILE=$data/client-secret make run

END
    keycloak start-dev "${built[@]}" --db-url="$(database "$data")" --http-host=127.0.0.1 --http-port="$port" \
        --import-realm
    ;;
*)
    echo "keycloak.sh knows fetch, serve PORT DIR, or nothing" >&2
    exit 64
    ;;
esac
