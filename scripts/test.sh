#!/usr/bin/env bash
# Runs every test of the workspace: installs or names its requirements; servers are private and are removed afterwards.
#
#   scripts/test.sh [--long] [--setup-only] [-- ARGUMENTS OF THE TEST RUNNER]
#
#   --long        the full sizes (sets TUF_FLEET_TEST_LONG=1)
#   --setup-only  installs, and makes the Python environments, but runs nothing
#
# As root on Debian it installs missing packages and runs the tests as a user it makes (TUF_FLEET_TEST_USER, default
# tuf-fleet-test). Otherwise it installs nothing and lists the missing packages (exit status 2).
set -euo pipefail
umask 022

packages=(rabbitmq-server redis-server python3 python3-venv openssl chromium)
test_user=${TUF_FLEET_TEST_USER:-tuf-fleet-test}
copy=/var/tmp/tuf-fleet-test # where the tree goes when that user cannot reach this one
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

say() { printf '%s\n' "$*" >&2; }
die() { say "test.sh: $*"; exit 2; }
usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

long=0 setup_only=0 arguments=("$@")
while [ $# -gt 0 ]; do
    case $1 in
        --long) long=1 ;;
        --setup-only) setup_only=1 ;;
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
runner_arguments=("$@")

is_root() { [ "$(id -u)" -eq 0 ]; }

# Three times, because mirrors and networks have bad moments; quiet unless it fails for good.
retry() {
    local log attempt status=0
    log=$(mktemp)
    for attempt in 1 2 3; do
        if "$@" >"$log" 2>&1 </dev/null; then rm -f "$log"; return 0; else status=$?; fi
        [ "$attempt" -eq 3 ] || sleep $((attempt * 5))
    done
    cat "$log" >&2
    rm -f "$log"
    return "$status"
}

# --- packages ---------------------------------------------------------------------------------------------------------

have() {
    case $1 in
        rabbitmq-server) [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] ;;
        redis-server) [ -x /usr/bin/redis-server ] ;;
        python3) [ -x /usr/bin/python3 ] ;;
        python3-venv) [ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null ;;
        gcc) command -v cc >/dev/null ;;
        libc6-dev) [ -e /usr/include/stdio.h ] || ! command -v dpkg >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

missing() {
    local package
    for package in "${packages[@]}" gcc libc6-dev; do have "$package" || printf '%s\n' "$package"; done
}

# Debian starts a service as soon as it is installed. Ours are private, so nothing may be started now or at boot.
install_packages() {
    local policy=/usr/sbin/policy-rc.d made_policy=0 status=0 package
    say "installing: $*"
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        made_policy=1
    fi
    export DEBIAN_FRONTEND=noninteractive
    {
        retry apt-get -qq -o Acquire::Retries=3 update &&
            retry apt-get -qq -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends "$@"
    } || status=$?
    [ "$made_policy" -eq 0 ] || rm -f "$policy"
    [ "$status" -eq 0 ] || die "cannot install $*"
    for package in "$@"; do
        [ -d /run/systemd/system ] || continue
        case $package in
            rabbitmq-server) systemctl disable --now rabbitmq-server epmd.service epmd.socket >/dev/null 2>&1 || true ;;
            redis-server) systemctl disable --now redis-server >/dev/null 2>&1 || true ;;
        esac
    done
}

mapfile -t wanted < <(missing)
if [ ${#wanted[@]} -gt 0 ]; then
    if is_root && command -v apt-get >/dev/null; then
        install_packages "${wanted[@]}"
        mapfile -t wanted < <(missing)
        [ ${#wanted[@]} -eq 0 ] || die "still missing after the installation: ${wanted[*]}"
    else
        say "test.sh: missing: ${wanted[*]}"
        say "install them as root, and see that no service of theirs is needed or left running:"
        say "    apt-get install --no-install-recommends ${wanted[*]}"
        say "or run scripts/test.sh as root, which does so and then runs the tests as another user."
        exit 2
    fi
fi
command -v cargo >/dev/null || die "cargo is missing: install a Rust toolchain (see rust-version in Cargo.toml)"

# --- the user and a place it can reach --------------------------------------------------------------------------------

as_user() { "$@"; }

if is_root; then
    if ! id -u "$test_user" >/dev/null 2>&1; then
        useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$test_user" ||
            die "cannot make the user $test_user"
    fi
    [ "$(id -u "$test_user")" -ne 0 ] || die "TUF_FLEET_TEST_USER must not be root"
    uid=$(id -u "$test_user") gid=$(id -g "$test_user")
    as_user() { setpriv --reuid "$uid" --regid "$gid" --clear-groups --inh-caps=-all "$@"; }

    reachable() {
        case $1 in *[[:space:]]*) return 1 ;; esac # cargo splits the runner's path at spaces
        as_user test -x "$1" && as_user test -r "$1" || return 1
        [ -z "$(cd / && as_user find "$1" \( -path "$1/target" -o -path "$1/.git" \) -prune -o \
            ! -readable -print -quit 2>&1)" ]
    }

    if ! reachable "$root"; then
        [ "$root" != "$copy/src" ] || die "$test_user cannot read $root"
        # The name is known to everybody, so what is there must be ours.
        mkdir -m 755 "$copy" 2>/dev/null || true
        [ -d "$copy" ] && [ ! -L "$copy" ] && [ "$(stat -c %u:%a "$copy")" = 0:755 ] ||
            die "$copy exists and is not a directory of root with mode 755"
        exec {copy_lock}>"$copy/lock"
        flock -n "$copy_lock" || { say "waiting for another run in $copy"; flock "$copy_lock"; }
        /usr/bin/python3 -B "$root/scripts/sync-tree.py" "$root" "$copy/src"
        say "$test_user cannot reach $root: running from $copy/src"
        # Its own target directory stays there for later runs; the lock stays with us through the exec.
        export CARGO_TARGET_DIR=$copy/src/target
        exec "$copy/src/scripts/test.sh" "${arguments[@]}"
    fi
fi

cd "$root"
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
[ -n "$target" ] || die "cargo metadata does not say where the target directory is"
mkdir -p "$target"
if is_root && ! as_user test -x "$target"; then die "$test_user cannot reach the target directory $target"; fi

# --- Python -----------------------------------------------------------------------------------------------------------

# Debian's own interpreter: one below /root is out of the test user's reach.
python_environment() { # where it goes, its requirements
    local venv=$1 requirements=$2
    if cmp -s "$requirements" "$venv/requirements.txt"; then return; fi
    say "making the Python environment ${venv##*/}"
    rm -rf "$venv"
    /usr/bin/python3 -m venv "$venv"
    retry "$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input --retries 5 install \
        --only-binary :all: --no-compile -r "$requirements" || die "cannot install $requirements"
    cp "$requirements" "$venv/requirements.txt" # last: it says that all is there
}

venv=$target/test-venv
python_environment "$venv" "$root/tests/python/requirements.txt"
export TUF_FLEET_TEST_PYTHON=$venv/bin/python
# The older versions of Celery that workers and clients of ours are tried with, each beside libraries of its time.
for version in 5.4 5.6; do
    python_environment "$venv-celery-$version" "$root/tests/python/requirements-celery-$version.txt"
    export "TUF_FLEET_TEST_PYTHON_CELERY_${version/./_}=$venv-celery-$version/bin/python"
done

if [ "$setup_only" -eq 1 ]; then
    say "ready: $TUF_FLEET_TEST_PYTHON"
    exit 0
fi

# --- what runs beside the tests, and its end --------------------------------------------------------------------------

for left in "$target"/run.*; do # of runs that were killed
    kill -0 "${left##*.}" 2>/dev/null || rm -rf "$left"
done
run=$target/run.$$ # short, because sockets below it must fit 107 bytes
rm -rf "$run"
mkdir -p "$run/tmp" "$run/servers" "$target/tmp"
broker_pid=
cleanup() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [ -n "$broker_pid" ]; then
        # Its end of input tells it to go; it takes the broker along.
        exec 9>&-
        wait "$broker_pid" 2>/dev/null || true
    fi
    rm -rf "$run" 2>/dev/null || true
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

if is_root; then
    chown -R "$uid:$gid" "$run"
    chmod 1777 "$target/tmp" # CARGO_TARGET_TMPDIR of the tests
    export TUF_FLEET_TEST_USER=$test_user TUF_FLEET_TEST_HOME=$run
    host=$(rustc -vV | sed -n 's/^host: //p')
    runner=CARGO_TARGET_$(printf %s "$host" | tr 'a-z-' 'A-Z_')_RUNNER
    export "$runner=$root/scripts/as-test-user.sh"
fi

# Descriptor 9 is the broker's input, and open nowhere but here: however this ends, the broker goes as well.
mkfifo "$run/commands"
exec 8<>"$run/commands" # read and write, so that neither open waits for the other
exec 9>"$run/commands"
as_user env HOME="$run" /usr/bin/python3 -B "$root/scripts/private-rabbitmq.py" --dir "$run/servers/rabbitmq" \
    <"$run/commands" >"$run/rabbitmq.json" 8>&- 9>&- &
broker_pid=$!
exec 8>&-

# The broker starts while this compiles.
[ "$long" -eq 0 ] || export TUF_FLEET_TEST_LONG=1
export TUF_FLEET_TEST_SERVERS=$run/servers INSTA_UPDATE=no INSTA_FORCE_PASS=0
# What each crate is built from, asked here because the tests run where cargo may be out of reach.
mkdir -p "$run/trees"
for package in crates/*/; do
    package=$(basename "$package")
    cargo tree --edges normal,build --prefix none --format '{p}' --package "$package" >"$run/trees/$package" 9>&-
done
export TUF_FLEET_TEST_CARGO_TREES=$run/trees
# Packages named after `--` are built and tested alone; the whole-system tests need every binary.
scope=(--workspace) binaries=1
for argument in "${runner_arguments[@]}"; do
    case $argument in -p* | --package*) scope=() binaries=0 ;; esac
done
case " ${runner_arguments[*]} " in *system-tests*) binaries=1 ;; esac
# With the tests, so that features are resolved once.
[ "$binaries" -eq 0 ] || cargo build --workspace --bins --tests --examples 9>&-
export TUF_FLEET_TEST_BIN=$target/debug # where tests find the binaries

until [ -s "$run/rabbitmq.json" ]; do
    kill -0 "$broker_pid" 2>/dev/null || die "the private RabbitMQ did not start"
    sleep 0.1
done
TUF_FLEET_TEST_RABBITMQ=$(head -n 1 "$run/rabbitmq.json")
export TUF_FLEET_TEST_RABBITMQ
case $TUF_FLEET_TEST_RABBITMQ in *'"error"'*) die "the private RabbitMQ did not start: $TUF_FLEET_TEST_RABBITMQ" ;; esac

# --- the tests --------------------------------------------------------------------------------------------------------

status=0 closing=
log=$target/test-run.log
if cargo nextest --version >/dev/null 2>&1; then
    profile=default
    [ "$long" -eq 0 ] || profile=long
    cargo nextest run --profile "$profile" "${scope[@]}" --no-fail-fast "${runner_arguments[@]}" 9>&- 2>&1 | tee "$log" || status=$?
    closing=$(grep -a 'Summary \[' "$log" | tail -n 1 || true)
else
    cargo test "${scope[@]}" --tests --no-fail-fast "${runner_arguments[@]}" 9>&- 2>&1 |
        tee "$log" || status=$?
    closing=$(awk '/^test result:/ {passed += $4; failed += $6} END {printf "%d tests passed, %d failed", passed, failed}' "$log")
fi

# The compiled examples of the documentation are put where only their maker can reach them, so they run as we do.
if is_root; then unset "$runner"; fi
if [ ${#runner_arguments[@]} -eq 0 ]; then
    doc=0
    cargo test --workspace --doc --quiet 9>&- || doc=$?
    if [ "$doc" -ne 0 ]; then
        say "documentation tests failed"
        [ "$status" -ne 0 ] || status=$doc
    fi
fi

[ -z "$closing" ] || printf '%s\n' "$closing"
exit "$status"
