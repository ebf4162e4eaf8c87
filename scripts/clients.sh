#!/usr/bin/env bash
# Tries clients of other projects on repositories of the fleet, and writes the outcome to docs/clients.md.
#
#   scripts/clients.sh [--only layouts|sizes|names]
#
#   --only  runs one part again; the others stay as the last run in target/clients found them
#
# It builds `rugged` and a client that embeds tough, installs python-tuf and tuf-js below target/clients, each as it is pinned
# in the tree, and needs Node.js 20 or newer with npm. A whole run takes about half an hour; tuf-js with many bins most of it.
# Programs that are built already can be named: TUF_FLEET_RUGGED, and TUF_FLEET_TOUGH (the example tough_fetch_targets).
# Exit status 1 if an accepted target name cannot be fetched by one of the clients.
set -euo pipefail
umask 022

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
say() { printf '%s\n' "$*" >&2; }
die() { say "clients.sh: $*"; exit 2; }
usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

case ${1:-} in
    '' | --only) ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
esac

for program in cargo node npm /usr/bin/python3; do
    command -v "$program" >/dev/null || die "$program is missing"
done
[ "$(node --print 'Number(process.versions.node.split(".")[0]) >= 20')" = true ] || die "Node.js 20 or newer is needed"

cd "$root"
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
[ -n "$target" ] || die "cargo metadata does not say where the target directory is"
work=$target/clients
mkdir -p "$work"

rugged=${TUF_FLEET_RUGGED:-}
if [ -z "$rugged" ]; then
    cargo build --release --package rugged-cli --bin rugged
    rugged=$target/release/rugged
fi
tough=${TUF_FLEET_TOUGH:-}
if [ -z "$tough" ]; then
    cargo build --release --package system-tests --example tough_fetch_targets
    tough=$target/release/examples/tough_fetch_targets
fi
tough_version=$(awk '/^name = "tough"$/ {getline; gsub(/[^0-9.]/, ""); print}' Cargo.lock)

# python-tuf as the tests have it.
requirements=tests/python/requirements.txt
venv=$work/venv
if ! cmp -s "$requirements" "$venv/requirements.txt"; then
    rm -rf "$venv"
    /usr/bin/python3 -m venv "$venv"
    "$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input install --only-binary :all: --no-compile \
        -r "$requirements" || die "cannot install $requirements"
    cp "$requirements" "$venv/requirements.txt" # last: it says that all is there
fi

# tuf-js as the lock file has it.
js=$work/js
if ! cmp -s tests/js/package-lock.json "$js/installed.json"; then
    rm -rf "$js"
    mkdir -p "$js"
    cp tests/js/package.json tests/js/package-lock.json "$js"
    npm ci --prefix "$js" --ignore-scripts --no-audit --no-fund --loglevel error >&2 || die "cannot install tuf-js"
    cp tests/js/package-lock.json "$js/installed.json" # last, as above
fi

exec "$venv/bin/python" -B tests/python/clients_matrix.py --rugged "$rugged" --tough "$tough" --tough-version "$tough_version" \
    --modules "$js/node_modules" --work "$work/run" --write docs/clients.md "$@"
