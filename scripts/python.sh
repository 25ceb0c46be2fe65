#!/usr/bin/env bash
# Builds and tests the Python package, in a virtual environment below the build folder.
#
# `python.sh test` runs the tests and checks the types, `python.sh wheel` builds a wheel to hand on, `python.sh bench`
# measures an installed one; what follows is handed to the program that measures.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
venv=$target/python
oldest_python=3.11

python3 -c 'import sys; sys.exit(sys.version_info < tuple(map(int, sys.argv[1].split("."))))' "$oldest_python" || {
    echo "The Python package needs python3 $oldest_python or newer; this is $(python3 --version)." >&2
    exit 1
}
# Made anew when the Python or what is wanted has changed.
wanted=$(python3 --version; cat tests/python/requirements.txt)
if [[ $(cat "$venv/made-with" 2>/dev/null) != "$wanted" ]]; then
    rm -rf "$venv"
    python3 -m venv --without-pip "$venv"
    python3 -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check -r tests/python/requirements.txt
    echo "$wanted" >"$venv/made-with"
fi
export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
locked=${CI:+--locked}

case ${1:-} in
test)
    # shellcheck disable=SC2086 # Nothing, or one word.
    python3 -m maturin develop --skip-install $locked -m crates/kijko-py/Cargo.toml
    export PYTHONPATH=$PWD/crates/kijko-py/python
    python3 -m pytest -q -p no:cacheprovider tests/python
    python3 -m mypy --strict --cache-dir "$target/mypy" crates/kijko-py/python tests/python
    python3 -m mypy.stubtest --ignore-disjoint-bases kijko._kijko
    python3 -m pyright --warnings crates/kijko-py/python tests/python
    ;;
wheel)
    # shellcheck disable=SC2086
    python3 -m maturin build --release $locked --out "$target/wheels" -m crates/kijko-py/Cargo.toml
    ;;
bench)
    # shellcheck disable=SC2086
    cargo build --release $locked -p kijko-http
    bench=$target/python-bench
    python3 -m venv --clear "$bench"
    "$bench/bin/pip" install --quiet --disable-pip-version-check -r benches/python/requirements.txt ./crates/kijko-py
    CARGO_TARGET_DIR=$target "$bench/bin/python" benches/python/latency.py "${@:2}"
    ;;
*)
    echo "usage: python.sh test|wheel|bench [--memory N]" >&2
    exit 2
    ;;
esac
