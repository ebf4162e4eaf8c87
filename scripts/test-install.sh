#!/usr/bin/env bash
# Runs deploy/install.sh in a fresh Debian machine with systemd and tries the fleet there: releases, each unit's sandbox,
# README's Python, kills, a restart, a power cut, a changed password, an upgrade, a failed check, --uninstall, and a RabbitMQ
# that is there already.
#
#   scripts/test-install.sh [--binaries DIR] [--keep]
#
#   --binaries DIR     the programs to install (target/dist, else target/release)
#   --keep             leaves the machine running, and says how to enter it
#
# As root on Debian. The machine is a container of systemd-nspawn with a network of its own (loopback only). Its packages are
# fetched before it starts, into target/install-test/base, which later runs use again; remove it to fetch newer ones.
# Prints a line for each check, `ok` or `FAILED`, and goes on after a failure.
# shellcheck disable=SC2016 # expanded by the shells that run them
set -euo pipefail
umask 022
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"

say() { printf '%s\n' "$*" >&2; }
die() { say "test-install.sh: $*"; exit 2; }
usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

target=${CARGO_TARGET_DIR:-$root/target}
binaries='' keep=0
while [ $# -gt 0 ]; do
    case $1 in
        --binaries) binaries=$(realpath "${2:?--binaries needs a directory}"); shift ;;
        --keep) keep=1 ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
[ "$(id -u)" -eq 0 ] || die "needs root: it starts a machine of its own"
grep -q '^ID=debian' /etc/os-release || die "needs Debian: the machine is made of its packages"
if [ -z "$binaries" ]; then
    for binaries in "$target"/{dist,release}; do [ ! -x "$binaries/monitor-worker" ] || break; done
fi
programs=(monitor-worker targets-worker snapshot-worker timestamp-worker root-worker rugged)
for name in "${programs[@]}"; do [ -x "$binaries/$name" ] || die "$binaries/$name is missing"; done

work=$target/install-test
mkdir -p "$work"
exec {lock}>"$work/lock"
flock -n "$lock" || die "another run uses $work"
log=$work/log machine=$work/machine group=tuf-fleet-install-test
: >"$log"
roles=(monitor targets snapshot timestamp)

# --- the end ----------------------------------------------------------------------------------------------------------

engine='' leader=''
power_cut() {
    [ -n "$engine" ] || return 0
    # The first process of its namespace: the kernel kills every other with it.
    [ -z "$leader" ] || kill -KILL "$leader" 2>/dev/null || true
    (sleep 20 && kill -KILL "$engine") 2>/dev/null &
    wait "$engine" 2>/dev/null || true
    kill "$!" 2>/dev/null || true
    engine='' leader=''
}
cleanup() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [ -n "$engine" ]; then inside journalctl --no-pager >"$work/journal" 2>/dev/null || true; fi
    power_cut
    find /sys/fs/cgroup -depth -type d -path "*/$group*" -exec rmdir {} + 2>/dev/null || true
    [ "$status" -ne 0 ] || rm -rf "$machine"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

passed=0 failures=0
ok() { passed=$((passed + 1)); printf 'ok %s\n' "$*"; }
failed() { failures=$((failures + 1)); printf 'FAILED %s\n' "$*"; }
# WHAT COMMAND...: one check.
expect() {
    local what=$1 output
    shift
    if output=$("$@" 2>&1); then ok "$what"; else failed "$what"; printf '%s\n' "$output" | tail -n 15 | sed 's/^/    /'; fi
    printf -- '--- %s\n%s\n' "$what" "$output" >>"$log"
}
# SECONDS COMMAND...: waits until it succeeds.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do [ "$SECONDS" -lt "$end" ] || return 1; sleep 0.3; done
}
quietly() { "$@" >>"$log" 2>&1 || { tail -n 30 "$log" >&2; die "failed: $*"; }; }

# --- a machine --------------------------------------------------------------------------------------------------------

install_packages() {
    say "installing: $*"
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get -qq update
    quietly apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends "$@"
}
wanted=()
command -v systemd-nspawn >/dev/null || wanted+=(systemd-container)
command -v debootstrap >/dev/null || wanted+=(debootstrap)
[ ${#wanted[@]} -eq 0 ] || install_packages "${wanted[@]}"

make_base() {
    local tree=$work/base.new mirror
    say "making a Debian root"
    rm -rf "$tree"
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
    quietly debootstrap --variant=minbase --include=systemd-sysv,dbus,procps,iproute2 bookworm "$tree" "$mirror"
    # With this machine's own sources and settings of apt, but those that drop what was fetched.
    rm -f "$tree/etc/apt/sources.list"
    cp -r /etc/apt/. "$tree/etc/apt/"
    rm -f "$tree/etc/apt/apt.conf.d"/docker-*
    cp /etc/resolv.conf /etc/hosts "$tree/etc/"
    quietly unshare --mount --pid --fork --kill-child chroot "$tree" env DEBIAN_FRONTEND=noninteractive sh -c \
        'mount -t proc proc /proc && apt-get -qq update &&
        apt-get -qq -y install --download-only --no-install-recommends rabbitmq-server nginx'
    printf 'fleet\n' >"$tree/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 fleet\n::1 localhost\n' >"$tree/etc/hosts"
    mv "$tree" "$work/base"
}
[ -d "$work/base" ] || make_base
python=${TUF_FLEET_TEST_PYTHON:-$target/test-venv/bin/python}
[ -x "$python" ] || quietly scripts/test.sh --setup-only

# Where this machine runs systemd, its manager makes the control group; elsewhere we do.
boot() {
    local unit=()
    [ -d /run/systemd/system ] || unit=(--keep-unit)
    (
        if [ ${#unit[@]} -gt 0 ]; then
            for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*/; do
                if [ -e "$hierarchy/cgroup.procs" ] && mkdir -p "$hierarchy/$group"; then
                    # Not in a cpuset, which has no processors yet.
                    echo "$BASHPID" >"$hierarchy/$group/cgroup.procs" || true
                fi
            done 2>/dev/null
        fi
        exec unshare --mount systemd-nspawn --quiet --register=no "${unit[@]}" --private-network --machine="$group" \
            --settings=no --link-journal=no --console=pipe --timezone=off --resolv-conf=off --directory="$machine" --boot \
            --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" # nspawn's lacks them
    ) </dev/null >>"$work/console" 2>&1 &
    engine=$!
    within 30 has_leader || die "the machine does not start: $work/console"
    within 120 running || { inside systemctl --failed >&2; die "the machine does not come up: $work/console"; }
}
has_leader() {
    leader=$(cat "/proc/$engine/task/$engine/children" 2>/dev/null)
    leader=${leader%% *}
    [ -n "$leader" ] && [ "$(cat "/proc/$leader/comm" 2>/dev/null)" = systemd ]
}
running() { case $(inside systemctl is-system-running 2>/dev/null) in running | degraded) true ;; *) false ;; esac; }
inside() {
    nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup -- env -i LANG=C.UTF-8 HOME=/root \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
shell() { inside bash -euo pipefail -c "$1" bash "${@:2}"; }
turn_off() {
    inside systemctl poweroff
    within 60 sh -c "! kill -0 $engine 2>/dev/null" || return 1
    wait "$engine" || true
    engine='' leader=''
}

say "booting a fresh machine"
rm -rf "$machine" "$work/cache" "$work/downloads"
: >"$work/console"
cp -a --reflink=auto "$work/base" "$machine"
mkdir -p "$machine/root/tuf-fleet/target/release"
cp -r deploy docker "$machine/root/tuf-fleet/"
rm -rf "$machine/root/tuf-fleet/deploy/"{data,secrets,.env}
for name in "${programs[@]}"; do
    strip -o "$machine/root/tuf-fleet/target/release/$name" "$binaries/$name" 2>/dev/null ||
        cp "$binaries/$name" "$machine/root/tuf-fleet/target/release/$name"
done
boot
ok "systemd $(inside systemctl --version | sed -n '1s/.*(\(.*\))/\1/p') runs the machine: $(inside systemctl is-system-running)"

# --- the installation -------------------------------------------------------------------------------------------------

# Everything that the script is responsible for, with contents, owners and modes.
state() {
    shell 'cd / && find etc usr/local var/rugged var/lib/rugged -xdev ! -path "var/lib/rugged/*/*" ! -path "*/metadata/*" \
        ! -path "*/targets/*" ! -path "*/log/*" ! -path "var/rugged/post_to_tuf/*" ! -path "var/rugged/incoming_targets/*" \
        \( -type d -printf "%p %u:%g %m\n" -o -type l -printf "%p -> %l\n" -o -printf "%p %u:%g %m %s %T@ %i\n" \) \
        2>/dev/null | sort || true'
}
main_pids() { for role in "${roles[@]}"; do inside systemctl show --property=MainPID "tuf-fleet-$role-worker.service"; done; }
# STATUS PATTERN ARGUMENT...: runs the script; its output goes to $work/said.
installs() {
    local want=$1 pattern=$2 status=0
    shift 2
    inside /root/tuf-fleet/deploy/install.sh "$@" >"$work/said" 2>&1 || status=$?
    tee -a "$work/all-said" <"$work/said"
    [ "$status" -eq "$want" ] || { echo "exit status $status"; return 1; }
    grep -q -- "$pattern" "$work/said" || { echo "does not say: $pattern"; return 1; }
    ! grep -q '^  FAILED' "$work/said" || [ "$want" -ne 0 ]
}
same() { "$@" >"$work/after"; diff "$work/before" "$work/after"; }

: >"$work/all-said"
state >"$work/before"
expect "--dry-run names the steps" installs 0 "nothing was done" --dry-run --initialize
expect "--dry-run changes nothing" same state
expect "an unknown option is refused" installs 2 "--initialize" --surprise

# Every command line of the machine, for as long as the installation takes.
shell 'while :; do
        echo "--- a look"
        cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\0" " " || true
        sleep 0.05
    done >/root/command-lines & echo $!' >"$work/sampler"
expect "the first run installs everything and names the next command" installs 0 "install.sh --initialize"
expect "without a repository nothing is started" shell '! systemctl is-active --quiet tuf-fleet-targets-worker.service'
expect "--initialize makes keys, root and first versions, starts the fleet, and every check passes" \
    installs 0 "the fleet runs" --initialize
expect "its checks include health, status, doctor and a client through nginx" \
    sh -c 'test "$(grep -c "^  ok " "$1")" -eq 15' sh "$work/said"
[ "$failures" -eq 0 ] || die "the rest needs a fleet"
state >"$work/before"
main_pids >"$work/pids"
expect "the second run changes nothing" installs 0 "nothing was changed" --initialize
expect "no file, owner, mode or time differs after it" same state
expect "no worker was restarted by it" sh -c 'diff "$1" -' sh "$work/pids" < <(main_pids)
shell 'kill "$1"' "$(cat "$work/sampler")" || true

passwords() {
    local user password
    for user in "$machine"/etc/rugged/broker/*; do
        password=$(sed 's|.*:\([0-9a-f]\{64\}\)@.*|\1|' "$user")
        [ ${#password} -eq 64 ] || { echo "$user holds no password"; return 1; }
        if grep -rqsF "$password" "$machine/root/command-lines" "$machine/var/log" "$work/all-said" "$work/console"; then
            echo "the password of $user was seen"
            return 1
        fi
        if inside journalctl --no-pager | grep -qF "$password"; then echo "$user is in the journal"; return 1; fi
    done
    [ "$(cat "$machine"/etc/rugged/broker/* | sort -u | wc -l)" -eq 6 ]
}
looks=$(grep -c -- "--- a look" "$machine/root/command-lines")
expect "six passwords; none in a log, nor in one of $looks looks at all command lines" passwords
expect "each password is root's, but the operator's and the producer's, and only its owner may read it" \
    shell 'diff <(cd /etc/rugged/broker && stat -c "%n %U %a" *) - <<END
monitor-worker root 400
operator rugged-admin 400
producer rugged 400
snapshot-worker root 400
targets-worker root 400
timestamp-worker root 400
END'
expect "RabbitMQ has these six users and no guest" \
    shell 'rabbitmqctl --quiet list_users --no-table-headers | cut -f1 | sort | diff - <(ls /etc/rugged/broker)'
expect "every socket of the machine listens on loopback only" \
    shell 'ss -ltnH && ! ss -ltnH | awk "{print \$4}" | grep -Ev "^(127\.|\[::1\]:)"'

# --- a release --------------------------------------------------------------------------------------------------------

# As a pipeline does: its user, and nothing but file operations.
post() {
    inside setpriv --reuid rugged --regid rugged --clear-groups sh -euc '
        cd /var/rugged/post_to_tuf
        mkdir -p "tuf_tmp_$1/dir"
        printf "release %s\n" "$1" >"tuf_tmp_$1/$1.txt"
        head -c 70000 /dev/urandom >"tuf_tmp_$1/dir/$1.bin"
        mv "tuf_tmp_$1" "tuf_ready_$1"' sh "$1"
}
receipt() { grep -qs '"outcome": "published"' "$machine/var/rugged/post_to_tuf/tuf_receipt_$1.json"; }
client() {
    nsenter --target "$leader" --net -- "$python" -B tests/python/tuf_download.py --metadata http://127.0.0.1:8080/metadata \
        --targets http://127.0.0.1:8080/targets --root "$machine/var/rugged/verification_keys/root.json" \
        --cache "$work/cache" --output "$work/downloads" --cached "$@"
}
publishes() {
    post "$1" && within 120 receipt "$1" && client "$1.txt" "dir/$1.bin" &&
        [ "$(cat "$work/downloads/$1.txt")" = "release $1" ]
}
expect "a drop of the pipeline's user is published; python-tuf verifies and downloads it through nginx" publishes first
served() { nsenter --target "$leader" --net -- "$python" -B - "$@" <<'PYTHON'
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen("http://127.0.0.1:8080" + sys.argv[1])
    have = f"{answer.status} {answer.headers['Cache-Control']}"
except urllib.error.HTTPError as error:
    have = f"{error.code} {error.headers['Cache-Control']}"
print(have)
sys.exit(have != sys.argv[2])
PYTHON
}
expect "nginx: timestamp.json is asked for again each time" served /metadata/timestamp.json "200 no-cache"
expect "nginx: versioned names are kept for ever" served /metadata/1.root.json "200 public, max-age=31536000, immutable"
expect "nginx: a root that is not there is not remembered" served /metadata/2.root.json "404 no-store"
expect "nginx: the commit log is not served" served /log/1.record.json "404 no-store"

# README's Python, with the address that this machine's producers have.
"$python" - "$machine/etc/rugged/broker/producer" >"$work/front_page.py" <<'PYTHON'
import sys
code = open("README.md").read().split("```python\n")[1].split("```")[0]
assert code.count("amqp://…") == 1
print(code.replace("amqp://…", open(sys.argv[1]).read().strip()))
PYTHON
chmod 600 "$work/front_page.py"
shell 'printf loose >/var/rugged/incoming_targets/loose.txt && chown rugged:rugged /var/rugged/incoming_targets/loose.txt'
expect "README's Python works as it stands, with the producer's user" \
    nsenter --target "$leader" --net -- timeout 120 "$python" "$work/front_page.py"
expect "the file that it had signed is served" within 60 client loose.txt
rm -f "$work/front_page.py"

# --- the sandbox ------------------------------------------------------------------------------------------------------

main_pid() { inside systemctl show --property=MainPID --value "tuf-fleet-$1-worker.service"; }
# ROLE COMMAND...: in the mounts of the unit, as its user, without capabilities.
as_worker() {
    local pid user
    pid=$(main_pid "$1")
    user=$(inside systemctl show --property=User --value "tuf-fleet-$1-worker.service")
    inside nsenter --target "$pid" --mount -- setpriv --reuid "$user" --regid rugged --clear-groups --bounding-set=-all \
        --no-new-privs "${@:2}"
}
settings=(NoNewPrivileges=yes ProtectSystem=strict ProtectHome=yes PrivateTmp=yes PrivateDevices=yes PrivateMounts=yes
    PrivateIPC=yes ProtectClock=yes ProtectHostname=yes ProtectKernelLogs=yes ProtectKernelModules=yes
    ProtectKernelTunables=yes ProtectControlGroups=yes ProtectProc=invisible ProcSubset=pid LockPersonality=yes
    MemoryDenyWriteExecute=yes RestrictNamespaces=yes RestrictRealtime=yes RestrictSUIDSGID=yes CapabilityBoundingSet=
    AmbientCapabilities= UMask=0022)
unit_settings() {
    local shown property
    shown=$(inside systemctl show --all "tuf-fleet-$1-worker.service")
    for property in "${settings[@]}"; do
        grep -qxF "$property" <<<"$shown" || { echo "not $property: $(grep "^${property%%=*}=" <<<"$shown")"; return 1; }
    done
}
process_status() {
    local status
    status=$(shell 'cat /proc/$1/status' "$(main_pid "$1")")
    for line in NoNewPrivs:1 Seccomp:2 CapEff:0000000000000000 CapBnd:0000000000000000 CapPrm:0000000000000000; do
        tr -d '\t ' <<<"$status" | grep -qxF "$line" || { echo "not $line"; echo "$status"; return 1; }
    done
    local mounts
    mounts=$(shell 'readlink /proc/1/ns/mnt /proc/$1/ns/mnt | sort -u | wc -l' "$(main_pid "$1")")
    [ "$mounts" -eq 2 ] || { echo "it has the mounts of the machine"; return 1; }
}
landlocked() {
    local last
    last=$(inside journalctl --no-pager -o cat _PID="$(main_pid "$1")" | grep -o '"message":"sandbox [^}]*' | tail -n 1)
    echo "$last"
    [[ $last == *'"sandbox entered"'* ]]
}
other_keys() {
    local role=$1 key
    if [ "$role" != monitor ]; then
        as_worker "$role" cat "/var/rugged/signing_keys/$role/$role" >/dev/null || { echo "cannot read its own key"; return 1; }
    fi
    for key in root targets snapshot timestamp; do
        [ "$key" != "$role" ] || continue
        if as_worker "$role" cat "/var/rugged/signing_keys/$key/$key"; then echo "reads the key of $key"; return 1; fi
        # Nor would root in its place: the unit hides it.
        if inside nsenter --target "$(main_pid "$role")" --mount -- cat "/var/rugged/signing_keys/$key/$key"; then
            echo "the key of $key is in its mounts"
            return 1
        fi
    done
    if as_worker "$role" cat /etc/rugged/broker/producer /etc/rugged/broker/operator; then echo "reads passwords"; return 1; fi
    for file in /etc/x /usr/local/bin/x /var/lib/x /var/rugged/x /var/rugged/signing_keys/x; do
        if as_worker "$role" sh -c ': >"$1"' sh "$file"; then echo "writes $file"; return 1; fi
    done
}
for role in "${roles[@]}"; do
    expect "$role-worker: its unit has all ${#settings[@]} sandbox settings" unit_settings "$role"
    expect "$role-worker: the process has no capability, no new privileges, a system call filter, its own mounts" \
        process_status "$role"
    expect "$role-worker: Landlock is on" landlocked "$role"
    expect "$role-worker: it can open no other role's key and no password, and write nothing of the system" other_keys "$role"
    printf 'note systemd-analyze security: %s\n' \
        "$(inside systemd-analyze security --no-pager "tuf-fleet-$role-worker.service" | tail -n 1)"
done
expect "systemd has nothing against the units" \
    shell 'cd /usr/local/lib/systemd/system
        said=$(systemd-analyze verify --man=no ./tuf-fleet.target ./tuf-fleet-*.service 2>&1)
        test -z "$said" || { echo "$said"; false; }'
expect "rugged doctor finds nothing as any of the workers" shell '
    for role in monitor targets snapshot timestamp; do
        user=rugged-$role
        [ $role != monitor ] || user=rugged
        install -m 400 -o $user /etc/rugged/broker/$role-worker /run/address
        runuser -u $user -- env RUGGED_BROKER_URL_FILE=/run/address RUGGED_STATE_PATH=/var/lib/rugged/$role-worker \
            rugged doctor --role $role
        rm -f /run/address
    done'
printf 'note control groups of this machine: %s; MemorySwapMax needs the unified hierarchy with the memory controller\n' \
    "$(stat -fc %T /sys/fs/cgroup)"

# --- kills, a restart, a power cut ------------------------------------------------------------------------------------

for role in "${roles[@]}"; do
    killed() {
        local before
        before=$(main_pid "$role")
        post "before-$role"
        inside kill -KILL "$before"
        post "during-$role"
        within 60 other_pid "$role" "$before" || { echo "not started again"; return 1; }
        within 120 receipt "before-$role" && within 120 receipt "during-$role" &&
            client "before-$role.txt" "during-$role.txt"
    }
    other_pid() { local now; now=$(main_pid "$1"); [ "$now" -ne 0 ] && [ "$now" != "$2" ]; }
    expect "$role-worker was killed and came back; drops posted before and meanwhile are published" killed
done
secrets() { (cd "$machine/etc/rugged/broker" && sha256sum -- *); }
secrets >"$work/secrets"
if turn_off; then ok "the machine was turned off"; else failed "the machine was turned off"; power_cut; fi
boot
expect "after the start the fleet came back by itself" \
    within 90 shell 'RUGGED_BROKER_URL_FILE=/etc/rugged/broker/operator rugged status'
expect "a drop is published after the restart" publishes restarted
post cut
power_cut
boot
expect "a drop that was posted right before a power cut is published after it" within 120 receipt cut
expect "a drop is published after the power cut" publishes power
expect "the passwords are the same" sh -c 'diff "$1" -' sh "$work/secrets" < <(secrets)
expect "every target verifies" client --all
expect "the script finds nothing to change" installs 0 "nothing was changed"

# --- a changed password, a newer program, an edited file, a failed check ----------------------------------------------

old=$(cat "$machine/etc/rugged/broker/targets-worker")
rm "$machine/etc/rugged/broker/targets-worker"
main_pids >"$work/pids"
expect "a password that was removed is made again" installs 0 "make a password for targets-worker"
expect "it is another one" sh -c 'test -s "$1" && test "$(cat "$1")" != "$2"' sh \
    "$machine/etc/rugged/broker/targets-worker" "$old"
others() { main_pids | diff "$work/pids" - | grep -c '^>'; }
expect "only the worker that it belongs to was restarted" sh -c 'test "$1" -eq 1' sh "$(others)"
expect "a drop is published with the new password" publishes rotated

# Bytes behind the end of a program change the file and nothing else.
printf newer >>"$machine/root/tuf-fleet/target/release/snapshot-worker"
main_pids >"$work/pids"
expect "a newer program is installed" installs 0 "restart tuf-fleet-snapshot-worker.service"
expect "only its worker was restarted" sh -c 'test "$1" -eq 1' sh "$(others)"
expect "a drop is published by it" publishes newer

printf '\n# ours\n' >>"$machine/etc/rugged/config.yaml"
expect "a configuration that the operator edited is kept, and the script says so" installs 0 "keep /etc/rugged/config.yaml"
expect "with the edit" grep -q '^# ours' "$machine/etc/rugged/config.yaml"
printf '\n# newer\n' >>"$machine/root/tuf-fleet/deploy/config.yaml"
expect "a newer shipped one does not replace it" installs 0 "keep /etc/rugged/config.yaml"
expect "--listen moves the site" installs 0 "http://127.0.0.1:8081" --listen 127.0.0.1:8081
expect "which stays there without the option" installs 0 "http://127.0.0.1:8081"
quietly inside /root/tuf-fleet/deploy/install.sh --listen 127.0.0.1:8080

shell 'mkdir -p /etc/systemd/system/tuf-fleet-snapshot-worker.service.d
    printf "[Service]\nExecStart=\nExecStart=false\n" >/etc/systemd/system/tuf-fleet-snapshot-worker.service.d/broken.conf
    systemctl daemon-reload && systemctl restart tuf-fleet-snapshot-worker.service || true'
expect "a worker that does not start makes the script end with 1 and name the next step" \
    installs 1 "next: journalctl -u tuf-fleet-snapshot-worker.service"
shell 'rm -r /etc/systemd/system/tuf-fleet-snapshot-worker.service.d && systemctl daemon-reload'
expect "mended, it ends with 0" installs 0 "the fleet runs"

# --- uninstall --------------------------------------------------------------------------------------------------------

kept() {
    shell 'find /etc/rugged /var/rugged/{signing_keys,verification_keys,tuf_repo} -type f -exec sha256sum {} + | sort'
}
inside systemctl stop tuf-fleet.target
kept >"$work/before"
expect "--uninstall" installs 0 "kept: " --uninstall
expect "programs, units and the site are gone" shell '! command -v rugged && ! ls /usr/local/lib/systemd/system/tuf-fleet* \
    /etc/nginx/conf.d/tuf-fleet.conf && ! systemctl list-units --all --no-legend | grep tuf-fleet'
expect "keys, repository and passwords are all there" same kept
expect "installed again, the fleet goes on with the same repository" installs 0 "the fleet runs"
expect "a drop is published" publishes again

# --- a RabbitMQ of someone else ---------------------------------------------------------------------------------------

quietly inside /root/tuf-fleet/deploy/install.sh --uninstall
shell 'rm -r /etc/rabbitmq/conf.d /etc/rabbitmq/definitions /etc/rugged/broker/operator
    systemctl restart rabbitmq-server.service
    rabbitmqctl --quiet delete_vhost rugged
    for user in {monitor,targets,snapshot,timestamp}-worker producer; do rabbitmqctl --quiet delete_user "$user"; done' \
    >>"$log" 2>&1
expect "a RabbitMQ that the script did not install is left alone" installs 2 "--existing-rabbitmq"
expect "with --existing-rabbitmq, so is a user of that name that is not the fleet's" \
    installs 2 "a user operator" --existing-rabbitmq
quietly inside rabbitmqctl --quiet delete_user operator
expect "else the fleet's users and queues are added to it" installs 0 "the fleet runs" --existing-rabbitmq
expect "and none of its settings" shell '! ls /etc/rabbitmq/conf.d'
expect "a drop is published through it" publishes shared

if [ "$keep" -eq 1 ]; then
    say "nsenter --target $leader --all bash; end of input or Ctrl-C ends it"
    cat >/dev/null || true
fi
printf '%s passed, %s failed\n' "$passed" "$failures"
[ "$failures" -eq 0 ]
