#!/usr/bin/env bash
# Fetches what the tests talk to and nobody else needs: servers written by others, into a cache outside the repository.
#
# `peers.sh aiosmtpd` or `peers.sh oauth2-mock-server` prints the folder that it is in. The tests call this by themselves; it costs nothing the second time.
set -euo pipefail

cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/kijko/peers
aiosmtpd=1.4.6
aimock=1.43.0
# The last that runs on Node.js 20.
oauth2_mock_server=8.2.3

fail() {
    echo "$1" >&2
    exit 1
}

# Runs a function once, into a folder that only appears when it is complete; others wait.
once() {
    local folder=$cache/$1 draft
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9
    if [[ ! -d $folder ]]; then
        draft=$(mktemp -d "$cache/draft.XXXXXX")
        "$2" "$draft" >&2 || { rm -rf "$draft"; fail "The tests need $1, and it cannot be fetched from here: see above."; }
        mv "$draft" "$folder"
    fi
    exec 9>&-
    echo "$folder"
}

fetch_aiosmtpd() {
    type -P python3 >/dev/null || fail "The tests of mail need python3 with pip: sudo apt-get install python3-pip"
    python3 -m pip install --quiet --disable-pip-version-check --no-warn-script-location --root-user-action=ignore \
        --target "$1" "aiosmtpd==$aiosmtpd"
}

fetch_oauth2_mock_server() {
    { type -P node && type -P npm; } >/dev/null ||
        fail "The tests of sign-in with Google need Node.js 20 and npm: sudo apt-get install nodejs npm"
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$1" "oauth2-mock-server@$oauth2_mock_server"
}

fetch_aimock() {
    { type -P node && type -P npm; } >/dev/null ||
        fail "The tests of model providers need Node.js 20 and npm: sudo apt-get install nodejs npm"
    npm install --prefix "$1" --silent --no-audit --no-fund --ignore-scripts "@copilotkit/aimock@$aimock"
}

case ${1:-} in
aimock) once "aimock-$aimock" fetch_aimock ;;
aiosmtpd) once "aiosmtpd-$aiosmtpd" fetch_aiosmtpd ;;
oauth2-mock-server) once "oauth2-mock-server-$oauth2_mock_server" fetch_oauth2_mock_server ;;
*) fail "usage: peers.sh aimock | aiosmtpd | oauth2-mock-server" ;;
esac
