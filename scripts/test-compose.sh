#!/usr/bin/env bash
# Brings deploy/docker-compose.yml up for real and tries it: a release, isolation of keys, mounts and broker users, and a
# crash of every container with a release posted while it is down.
#
#   scripts/test-compose.sh [--profile PROFILE | --binaries DIR] [--plain-names] [--keep]
#
#   --profile PROFILE  cargo profile of the binaries (dist)
#   --binaries DIR     takes these binaries and compiles nothing
#   --plain-names      with docker-compose.plain-names.yml, which is for `consistent_snapshot: false`
#   --keep             leaves it running, and says how to reach it
#
# As root on Debian. A Docker engine that answers is used as it is, with the images it can pull. Without one, a private
# engine is started in namespaces of its own, so that networks, firewall rules and mounts of this machine stay as they
# are, and the base images are stand-ins made of Debian's packages under the names the files use.
set -euo pipefail
umask 022
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"

say() { printf '%s\n' "$*" >&2; }
die() { say "test-compose.sh: $*"; exit 2; }
usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

build=() keep=0 files=(--file deploy/docker-compose.yml) plain=0
while [ $# -gt 0 ]; do
    case $1 in
        --profile) build=(--profile "${2:?--profile needs a name}"); shift ;;
        --binaries) build=(--binaries "$(realpath "${2:?--binaries needs a directory}")"); shift ;;
        --plain-names) plain=1 files+=(--file deploy/docker-compose.plain-names.yml) ;;
        --keep) keep=1 ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
[ "$(id -u)" -eq 0 ] || die "needs root: containers, their owners and crashes are made for real"
grep -q '^ID=debian' /etc/os-release || die "needs Debian: the stand-in images are made of its packages"

target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
work=$target/compose-test
mkdir -p "$work"
exec {lock}>"$work/lock"
flock -n "$lock" || die "another run uses $work"
run=$(mktemp -d /run/tuf-fleet.XXXXXX) # short: sockets lie in it
project=tuf-fleet-test engine= first= inside=()
log=$work/log
: >"$log"

# --- the end ----------------------------------------------------------------------------------------------------------

fleet() { "${compose_command[@]}" --project-name "$project" "${files[@]}" "$@"; }
compose() { fleet --profile admin "$@"; }
compose_command=(false)

cleanup() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [ "${compose_command[0]}" != false ]; then
        compose logs --no-color >"$work/containers.log" 2>&1 || true
        [ "$status" -eq 0 ] || say "logs of the containers: $work/containers.log"
    fi
    compose down --volumes --timeout 10 >>"$log" 2>&1 || true
    if [ -n "$engine" ]; then
        # dockerd is the first process of its namespace: everything in it goes with it.
        kill "${first:-$engine}" 2>/dev/null || true
        (sleep 20 && kill -KILL "$engine") 2>/dev/null &
        wait "$engine" 2>/dev/null || true
        kill "$!" 2>/dev/null || true
        find /sys/fs/cgroup -depth -type d -path "*/tuf-fleet-test/*" -exec rmdir {} + 2>/dev/null || true
        find /sys/fs/cgroup -depth -type d -name tuf-fleet-test -exec rmdir {} + 2>/dev/null || true
    fi
    rm -rf "$run" "$work/try"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Waits for a condition, at most SECONDS; says what it waited for.
await() {
    local seconds=$1 what=$2
    shift 2
    local end=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || die "waited $seconds s in vain: $what"
        sleep 0.3
    done
}

quietly() { "$@" >>"$log" 2>&1 || { tail -n 30 "$log" >&2; die "failed: $*"; }; }
passed=0
ok() { passed=$((passed + 1)); printf 'ok: %s\n' "$*"; }

# --- an engine --------------------------------------------------------------------------------------------------------

install_packages() {
    local policy=/usr/sbin/policy-rc.d made=0 status=0
    say "installing: $*"
    # Nothing is started by its installation.
    if [ ! -e "$policy" ]; then printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 755 "$policy"; made=1; fi
    export DEBIAN_FRONTEND=noninteractive
    { apt-get -qq update && apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends "$@"; } >>"$log" 2>&1 ||
        status=$?
    [ "$made" -eq 0 ] || rm -f "$policy"
    [ "$status" -eq 0 ] || { tail -n 5 "$log" >&2; die "cannot install $*"; }
}

wanted=()
command -v docker >/dev/null && docker info >/dev/null 2>&1 && private=0 || private=1
if [ "$private" -eq 1 ]; then
    command -v dockerd >/dev/null && command -v docker >/dev/null || wanted+=(docker.io)
    command -v iptables >/dev/null || wanted+=(iptables)
    command -v ip >/dev/null || wanted+=(iproute2)
    command -v debootstrap >/dev/null || wanted+=(debootstrap)
fi
docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null || wanted+=(docker-compose)
[ ${#wanted[@]} -eq 0 ] || install_packages "${wanted[@]}"

start_engine() {
    # Files it makes in passing belong to this run; images are kept for the next.
    unshare --net --mount --pid --fork --kill-child --mount-proc sh -c 'ip link set lo up && exec "$@"' sh \
        dockerd --host "unix://$run/docker.sock" --data-root "$work/engine-$1" --exec-root "$run/exec" \
        --pidfile "$run/docker.pid" --storage-driver "$1" --cgroup-parent /tuf-fleet-test >"$work/engine.log" 2>&1 &
    engine=$!
    local end=$((SECONDS + 60))
    until docker info >/dev/null 2>&1; do
        if ! kill -0 "$engine" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
            kill -KILL "$engine" 2>/dev/null || true # takes its child along
            engine=
            return 1
        fi
        sleep 0.3
    done
}

if [ "$private" -eq 1 ]; then
    export DOCKER_HOST=unix://$run/docker.sock
    start_engine overlay2 || start_engine vfs ||
        { tail -n 5 "$work/engine.log" >&2; die "no Docker engine can be started here"; }
    first=$(cat "/proc/$engine/task/$engine/children")
    first=${first%% *}
    # As somebody on the machine the engine runs on: its network, its processes.
    inside=(nsenter --target "$first" --net --pid --)
    say "private engine: $(docker info --format '{{.ServerVersion}}, {{.Driver}}')"
fi
if docker compose version >/dev/null 2>&1; then compose_command=(docker compose); else compose_command=(docker-compose); fi
export RUGGED_DATA=$work/try/data RUGGED_SECRETS=$work/try/secrets HTTP_BIND=127.0.0.1 HTTP_PORT=18080
export IMAGE_PREFIX=tuf-fleet-test IMAGE_TAG=test COMPOSE_HTTP_TIMEOUT=180

# --- base images ------------------------------------------------------------------------------------------------------

image_of() { compose config | sed -n "/^  $1:/,/^  [^ ]/s/^ *image: //p"; }
has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# stand_in IMAGE [PACKAGE...] [-- OPTIONS OF docker import]: from the rest of "$work/base", which is made once a run.
stand_in() {
    local image=$1 packages=() tree=$work/tree mirror
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do packages+=("$1"); shift; done
    [ $# -eq 0 ] || shift
    if has_image "$image"; then return; fi
    say "stand-in for $image"
    if [ ! -d "$work/base" ]; then
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
        rm -rf "$tree"
        quietly debootstrap --variant=minbase bookworm "$tree" "$mirror"
        mv "$tree" "$work/base"
    fi
    rm -rf "$tree"
    cp -a "$work/base" "$tree"
    if [ ${#packages[@]} -gt 0 ]; then
        # With this machine's own sources and settings of apt.
        rm -f "$tree/etc/apt/sources.list"
        cp -r /etc/apt/. "$tree/etc/apt/"
        cp /etc/resolv.conf /etc/hosts "$tree/etc/"
        printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
        chmod 755 "$tree/usr/sbin/policy-rc.d"
        # In a namespace that takes along whatever an installation script leaves running.
        quietly unshare --mount --pid --fork --kill-child chroot "$tree" env DEBIAN_FRONTEND=noninteractive sh -c \
            'mount -t proc proc /proc && apt-get -qq update && apt-get -qq -y install --no-install-recommends "$@"' \
            sh "${packages[@]}"
    fi
    install -m 755 /dev/stdin "$tree/usr/local/bin/docker-entrypoint.sh" <<'ENTRYPOINT'
#!/bin/sh
# As the original's: the volume to the server's user, the server as that user.
set -eu
if [ "$1" = rabbitmq-server ] && [ "$(id -u)" -eq 0 ]; then
    chown rabbitmq: /var/lib/rabbitmq
    exec setpriv --reuid rabbitmq --regid rabbitmq --clear-groups "$0" "$@"
fi
exec "$@"
ENTRYPOINT
    tar --create --directory "$tree" --exclude='./var/cache/apt/archives/*.deb' --exclude='./var/lib/apt/lists/*' \
        --exclude='./proc/*' --exclude='./dev/*' --exclude='./etc/apt' . | quietly docker import "$@" - "$image"
    rm -rf "$tree"
}

if [ "$private" -eq 1 ]; then
    stand_in debian:bookworm-slim -- --change 'CMD ["bash"]'
    stand_in "$(image_of nginx)" nginx-light -- --change 'CMD ["nginx", "-g", "daemon off;"]'
    stand_in "$(image_of rabbitmq)" rabbitmq-server -- --change 'CMD ["rabbitmq-server"]' \
        --change 'ENTRYPOINT ["docker-entrypoint.sh"]' --change 'VOLUME /var/lib/rabbitmq' \
        --change 'ENV HOME=/var/lib/rabbitmq' --change 'ENV RABBITMQ_LOGS=-' \
        --change 'ENV PATH=/usr/lib/rabbitmq/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    rm -rf "$work/base"
fi

python=${TUF_FLEET_TEST_PYTHON:-$target/test-venv/bin/python}
[ -x "$python" ] || quietly scripts/test.sh --setup-only

# --- up ---------------------------------------------------------------------------------------------------------------

say "images"
quietly docker/build.sh "${build[@]}"
rm -rf "$work/try"
mkdir -p "$work/try"
services=(rabbitmq monitor-worker targets-worker snapshot-worker timestamp-worker nginx)
workers=(monitor-worker targets-worker snapshot-worker timestamp-worker)
say "up"
quietly fleet up -d

container() { compose ps -q "$1"; }
state() { docker inspect --format "$2" "$(container "$1")"; }
healthy() { [ "$(state "$1" '{{.State.Health.Status}}')" = healthy ]; }
running() { [ "$(state "$1" '{{.State.Running}}')" = true ]; }
for service in rabbitmq "${workers[@]}"; do await 180 "$service is healthy" healthy "$service"; done
ok "every container is up and healthy, before there is a root"

rugged() { compose run --rm rugged "$@"; }
quietly compose run --rm root-worker generate-keys
quietly compose run --rm root-worker initialize
quietly rugged refresh-expiry
await 60 "the first timestamp" test -s "$RUGGED_DATA/tuf_repo/metadata/timestamp.json"
ok "keys and root made with the admin profile; every role signed its first version"

# --- a release --------------------------------------------------------------------------------------------------------

# As a pipeline does: its uid, and nothing but file operations.
post() {
    local drop=$RUGGED_DATA/post_to_tuf
    setpriv --reuid 440 --regid 440 --clear-groups sh -euc '
        mkdir -p "$1/tuf_tmp_$2/dir"
        printf "release %s\n" "$2" >"$1/tuf_tmp_$2/$2.txt"
        head -c 70000 /dev/urandom >"$1/tuf_tmp_$2/dir/$2.bin"
        mv "$1/tuf_tmp_$2" "$1/tuf_ready_$2"' sh "$drop" "$1"
}
receipt() { grep -q '"outcome": "published"' "$RUGGED_DATA/post_to_tuf/tuf_receipt_$1.json"; }
client() {
    "${inside[@]}" "$python" -B tests/python/tuf_download.py --metadata http://127.0.0.1:$HTTP_PORT/metadata \
        --targets http://127.0.0.1:$HTTP_PORT/targets --root "$RUGGED_DATA/verification_keys/root.json" \
        --cache "$work/try/cache" --output "$work/try/downloads" --cached "${client_options[@]}" "$@"
}

client_options=()
[ "$plain" -eq 0 ] || client_options=(--no-prefix)

post first
await 60 "the receipt of the first drop" receipt first
quietly client first.txt dir/first.bin
[ "$(cat "$work/try/downloads/first.txt")" = "release first" ] || die "python-tuf downloaded something else"
ok "a drop was published, and python-tuf verified and downloaded it through nginx"
quietly rugged validate --strict
ok "rugged validate --strict finds nothing"
quietly rugged status
quietly rugged pause-processing --reason trial
quietly rugged resume-processing
ok "the operator's broker user may pause and resume"

# --- caching ----------------------------------------------------------------------------------------------------------

"${inside[@]}" "$python" -B - "http://127.0.0.1:$HTTP_PORT" "$plain" <<'PYTHON' >>"$log" 2>&1 || { tail -n 20 "$log"; die "nginx"; }
import sys
import urllib.error
import urllib.request

FOR_EVER = "public, max-age=31536000, immutable"


def ask(path, method="GET"):
    try:
        with urllib.request.urlopen(urllib.request.Request(sys.argv[1] + path, method=method)) as answer:
            return answer.status, answer.headers["Cache-Control"]
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Cache-Control"]


plain = sys.argv[2] == "1"
for path, method, status, caching in [
    ("/targets/first.txt", "GET", *((200, "no-cache") if plain else (404, "no-store"))),
    ("/metadata/timestamp.json", "GET", 200, "no-cache"),
    ("/metadata/1.root.json", "GET", 200, FOR_EVER),
    ("/metadata/1.snapshot.json", "HEAD", 200, FOR_EVER),
    ("/metadata/2.root.json", "GET", 404, "no-store"),
    ("/metadata/.1.timestamp.json", "GET", 404, "no-store"),
    ("/metadata/", "GET", 403, "no-store"),
    ("/log/1.record.json", "GET", 404, "no-store"),
    ("/metadata/timestamp.json", "PUT", 403, "no-store"),
    ("/targets/../log/1.record.json", "GET", 404, "no-store"),
]:
    have = ask(path, method)
    assert have == (status, caching), (path, method, have, (status, caching))
PYTHON
ok "nginx keeps versioned names for ever and neither timestamp.json nor a root that is not there yet"

# --- isolation --------------------------------------------------------------------------------------------------------

mounts() { state "$1" '{{range .Mounts}}{{.Destination}}{{if .RW}} rw{{else}} ro{{end}}
{{end}}' | sed '/^$/d' | sort | tr '\n' ',' ; }
expect_mounts() {
    local service=$1 have want
    shift
    have=$(mounts "$service")
    want=$(printf '%s\n' "$@" "/etc/rugged/config.yaml ro" "/run/secrets ro" "/var/lib/rugged rw" | sort | tr '\n' ',')
    [ "$have" = "$want" ] || die "mounts of $service: have $have want $want"
}
v=/var/rugged
expect_mounts monitor-worker "$v/post_to_tuf rw" "$v/incoming_targets rw"
expect_mounts targets-worker "$v/incoming_targets rw" "$v/tuf_repo/metadata rw" "$v/tuf_repo/targets rw" \
    "$v/tuf_repo/log rw" "$v/signing_keys/targets ro" "$v/verification_keys ro"
expect_mounts snapshot-worker "$v/tuf_repo/metadata rw" "$v/tuf_repo/log ro" "$v/signing_keys/snapshot ro" \
    "$v/verification_keys ro"
more=()
[ "$plain" -eq 0 ] || more=("$v/tuf_repo/targets rw")
expect_mounts timestamp-worker "$v/tuf_repo/metadata rw" "$v/signing_keys/timestamp ro" "$v/verification_keys ro" \
    "${more[@]}"
ok "each worker mounts what its role needs, the monitor neither keys nor repository"

within() { docker exec "$(container "$1")" "${@:2}"; }
refuses() { if "$@" >>"$log" 2>&1; then die "should have been refused: $*"; fi; }
quietly within targets-worker test -r /var/rugged/signing_keys/targets/targets # so that the refusals mean something
refuses within monitor-worker find /var/rugged/signing_keys
refuses within monitor-worker sh -c 'find / -xdev -name root.json | grep .'
for role in root targets snapshot timestamp; do
    refuses within monitor-worker cat "/var/rugged/signing_keys/$role/$role"
done
ok "the monitor container cannot read a key"

# Even if its file were mounted: the owner is another.
refuses compose run --rm --no-deps --entrypoint cat -v "$RUGGED_DATA/signing_keys:/keys:ro" targets-worker \
    /keys/snapshot/snapshot
others=(1.snapshot.json 1.root.json)
[ "$plain" -eq 1 ] || others+=(timestamp.json) # then they share a uid
for name in "${others[@]}"; do
    refuses within targets-worker rm -f "/var/rugged/tuf_repo/metadata/$name"
    refuses within targets-worker sh -c ": >>/var/rugged/tuf_repo/metadata/$name"
done
refuses within snapshot-worker sh -c ': >/var/rugged/tuf_repo/log/9.record.json'
ok "a worker can neither read another's key nor change another's files"

install -d -o 441 -g 440 -m 700 "$work/try/stray"
install -o 441 -g 440 -m 400 "$RUGGED_DATA/signing_keys/snapshot/snapshot" "$work/try/stray/snapshot"
status=0
compose run --rm --no-deps -v "$work/try/stray:/var/rugged/signing_keys/snapshot:ro" targets-worker \
    >"$work/try/refusal" 2>&1 || status=$?
cat "$work/try/refusal" >>"$log"
[ "$status" -eq 3 ] || die "a worker with another's key ended with $status: $(tail -n 2 "$work/try/refusal")"
grep -q 'a worker may reach only the keys of its own role' "$work/try/refusal" || die "no reason was given"
ok "a worker that can open another role's key refuses to start"

address=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$(container rabbitmq)")
"${inside[@]}" "$python" -B - "$address" "$RUGGED_SECRETS" <<'PYTHON' >>"$log" 2>&1 || { tail -n 20 "$log"; die "broker"; }
import re
import sys
import uuid

import amqp

host, secrets = sys.argv[1:]
WORKERS = ["monitor-worker", "targets-worker", "snapshot-worker", "timestamp-worker"]


def refused(user, what, action):
    password = re.search(r":([0-9a-f]{64})@", open(f"{secrets}/{user}/broker_url").read())[1]
    with amqp.Connection(host=f"{host}:5672", userid=user, password=password, virtual_host="rugged") as connection:
        channel = connection.channel()
        channel.confirm_select()
        try:
            action(channel)
            # An answer that comes after the refusal, if there is one.
            channel.queue_declare(str(uuid.uuid4()), passive=True)
        except amqp.exceptions.AccessRefused:
            return
        except amqp.exceptions.NotFound:
            pass
        raise AssertionError(f"{user} may {what}")


def publish(exchange, key):
    return lambda channel: channel.basic_publish(amqp.Message("{}"), exchange=exchange, routing_key=key)


for user in [*WORKERS, "operator"]:
    if user != "operator":
        refused(user, "write to rugged.admin", publish("rugged.admin", "targets-worker"))
        refused(user, "listen to rugged.admin", lambda c, u=user: c.queue_bind(u, "rugged.admin", "monitor-worker"))
    refused(user, "delete rugged.admin", lambda c: c.exchange_delete("rugged.admin"))
    refused(user, "make a queue", lambda c: c.queue_declare("other"))
    for other in WORKERS:
        if other != user:
            refused(user, f"read {other}", lambda c, o=other: c.basic_get(o))
            refused(user, f"delete {other}", lambda c, o=other: c.queue_delete(o))
            refused(user, f"purge {other}", lambda c, o=other: c.queue_purge(o))

try:
    with amqp.Connection(host=f"{host}:5672", userid="guest", password="guest", virtual_host="/"):
        raise AssertionError("there is a guest")
except (amqp.exceptions.AccessRefused, amqp.exceptions.NotAllowed):
    pass
PYTHON
ok "no worker's broker user can write to rugged.admin, nor touch another's queue"

# As docs/operations.md has it for the compose file: as the user of the role, with its state and without a broker.
for role in targets snapshot timestamp; do
    state=$RUGGED_DATA/state/$role-worker
    compose run --rm --no-deps --user "$(stat -c %u "$state"):440" -v "$state:/floor" -e RUGGED_STATE_PATH=/floor \
        -e RUGGED_BROKER_URL_FILE= rugged recover --role "$role" >"$work/try/floor" 2>&1 || status=$?
    cat "$work/try/floor" >>"$log"
    grep -q "$role is not below its floor" "$work/try/floor" || die "rugged recover: $(tail -n 2 "$work/try/floor")"
done
ok "rugged recover reaches the floor of each role"

# --- crashes ----------------------------------------------------------------------------------------------------------

# Posts a drop, kills with that under way, and posts another. Killed from outside, as by the kernel: what `docker kill`
# ends, Docker does not start again.
crash() {
    local before
    before=$(state "$1" '{{.RestartCount}}')
    post "before-$1"
    "${inside[@]}" kill -KILL "$(state "$1" '{{.State.Pid}}')"
    post "during-$1"
    await 60 "$1 is started again" restarted "$1" "$before"
}
restarted() { running "$1" && [ "$(state "$1" '{{.RestartCount}}')" -gt "$2" ]; }

for service in "${services[@]}"; do
    crash "$service"
    await 180 "the receipt of the drop posted before $service was killed" receipt "before-$service"
    await 180 "the receipt of the drop posted while $service was down" receipt "during-$service"
    if [ "$service" = nginx ]; then await 30 "nginx answers" client "during-$service.txt"; fi
    quietly client "before-$service.txt" "during-$service.txt" "dir/during-$service.bin"
    ok "$service was killed and came back; drops posted before and in that time are published"
done
for service in rabbitmq "${workers[@]}"; do await 120 "$service is healthy" healthy "$service"; done
quietly rugged validate --strict
quietly client --all
ok "after all of that every target verifies"

# --- down and up ------------------------------------------------------------------------------------------------------

quietly fleet stop
post stopped
quietly fleet up -d
await 180 "the receipt of the drop posted while everything was stopped" receipt stopped
quietly client stopped.txt
ok "a drop posted while everything was stopped is published after the start"

if [ "$keep" -eq 1 ]; then
    say "DOCKER_HOST=${DOCKER_HOST:-} ${inside[*]}: $work/try; end of input or Ctrl-C ends it"
    cat >/dev/null || true
fi
printf '%s checks passed\n' "$passed"
