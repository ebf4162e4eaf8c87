#!/usr/bin/env bash
# Installs the fleet on this machine (Debian 12 or later, systemd): RabbitMQ, the four workers, and nginx in front of the
# repository. Run it again to upgrade or to repair: it changes only what differs, restarts only what changed, keeps the files
# that the operator edited, and never replaces a password, a key or the repository.
#
#   deploy/install.sh [--binaries DIR] [--initialize] [--listen ADDRESS:PORT] [--existing-rabbitmq] [--dry-run]
#   deploy/install.sh --uninstall [--dry-run]
#
#   --binaries DIR           takes the programs from DIR (default: target/dist, else target/release)
#   --initialize             makes keys and a root, unless there are some, and starts the fleet
#   --listen ADDRESS:PORT    where nginx serves the repository (127.0.0.1:8080; all addresses: 0.0.0.0:80)
#   --existing-rabbitmq      adds the users and queues to a RabbitMQ that this script did not install, and changes nothing else
#                            of it
#   --uninstall              removes programs, units and the site; keeps keys, repository, passwords, RabbitMQ and packages
#   --dry-run                only says what it would do
#
# Exit codes: 0 done, and every check passed; 1 done, but a check failed; 2 wrong call or unfit machine, nothing was changed;
# 3 a step failed.
set -euo pipefail
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(dirname "$here")
# shellcheck source=deploy/rabbitmq/broker-users.sh
. "$here/rabbitmq/broker-users.sh"

programs=(monitor-worker targets-worker snapshot-worker timestamp-worker root-worker rugged)
# In the order of an upgrade (docs/operations.md).
workers=(timestamp snapshot targets monitor)
key_roles=(root targets snapshot timestamp)
declare -A health=([monitor]=127.0.0.1:9440 [targets]=127.0.0.1:9441 [snapshot]=127.0.0.1:9442 [timestamp]=127.0.0.1:9443)
lib=/usr/local/lib shipped=/usr/local/share/tuf-fleet
data=/var/rugged broker=/etc/rugged/broker site=/etc/nginx/conf.d/tuf-fleet.conf
definitions=/etc/rabbitmq/definitions/definitions.json

say() { printf '%s\n' "$*"; }
die() { printf 'install.sh: %s\n' "$*" >&2; exit 2; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 3; }
usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

binaries='' initialize=0 listen='' existing=0 dry=0 uninstall=0
while [ $# -gt 0 ]; do
    case $1 in
        --binaries) binaries=${2:?--binaries needs a directory}; shift ;;
        --listen) listen=${2:?--listen needs ADDRESS:PORT}; shift ;;
        --initialize) initialize=1 ;;
        --existing-rabbitmq) existing=1 ;;
        --uninstall) uninstall=1 ;;
        --dry-run) dry=1 ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done

# --- steps ------------------------------------------------------------------------------------------------------------

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
changes=0

# WHAT COMMAND...: one change, with its line.
act() {
    changes=$((changes + 1))
    say "  $1"
    [ "$dry" -eq 1 ] || "${@:2}" >"$work/output" 2>&1 || { tail -n 20 "$work/output" >&2; fail "failed: $1"; }
}

# Through a temporary name: a reader never sees half a file, and a running program keeps its own.
put() {
    mkdir -p "$(dirname "$2")" && cp "$1" "$2.new" && chmod "$3" "$2.new" && mv "$2.new" "$2"
}

# SOURCE DESTINATION MODE: a file that belongs to this script. Succeeds if it was changed.
place() {
    if cmp -s "$1" "$2"; then
        [ "$(stat -c %a "$2")" = "${3#0}" ] || act "chmod $3 $2" chmod "$3" "$2"
        return 1
    fi
    act "install $2" put "$@"
}

# SOURCE DESTINATION MODE: a file that an operator may edit. An edited one stays; a copy of the shipped one lies in $shipped.
# Succeeds if it was changed.
place_configuration() {
    local copy=$shipped$2 changed=1
    if [ -e "$2" ] && ! cmp -s "$copy" "$2" && ! cmp -s "$1" "$2"; then
        say "  keep $2, which was edited; the shipped one is $copy"
    elif place "$1" "$2" "$3"; then
        changed=0
    fi
    if ! cmp -s "$1" "$copy"; then
        changes=$((changes + 1))
        [ "$dry" -eq 1 ] || put "$1" "$copy" 644 || fail "cannot write $copy"
    fi
    return "$changed"
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null)" = 'ii ' ]; }

# Configuration files that are there already stay as they are. The lists of packages are fetched only if they lack one.
packages() {
    local get=(env DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold)
    "${get[@]}" install --no-install-recommends "$@" ||
        { "${get[@]}" update && "${get[@]}" install --no-install-recommends "$@"; }
}

unit() { printf 'tuf-fleet-%s-worker.service' "$1"; }
active() { [ "$(systemctl is-active "$1" 2>/dev/null)" = active ]; }
enabled() { [ "$(systemctl is-enabled "$1" 2>/dev/null)" = enabled ]; }
has_root() { [ -s "$data/tuf_repo/metadata/1.root.json" ] && [ -s "$data/verification_keys/root.json" ]; }
has_key() { [ -n "$(find "$data/signing_keys/$1" -maxdepth 1 -type f -size +0 ! -name '.*' -print -quit 2>/dev/null)" ]; }
has_keys() { for role in "${key_roles[@]}"; do has_key "$role" || return 1; done; }
# A key for each role that has none. A run that was killed may have left a public key whose private one does not exist.
make_keys() {
    local role public
    for role in "${key_roles[@]}"; do
        has_key "$role" && continue
        public=$data/verification_keys/$role
        [ ! -e "$public/$role.json" ] || mv "$public/$role.json" "$public/.$role.json.unused" || return 1
        tuf-fleet-ceremony generate-keys --role "$role" || return 1
    done
}
# As the operator, whose address of the broker may do everything.
operator() { runuser -u rugged-admin -- env RUGGED_BROKER_URL_FILE="$broker/operator" rugged "$@"; }

# --- fit? -------------------------------------------------------------------------------------------------------------

[ "$(id -u)" -eq 0 ] || die "needs root"
command -v apt-get >/dev/null || die "needs Debian: RabbitMQ and nginx are its packages"
[ -d /run/systemd/system ] || die "needs systemd as the init of this machine"
version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
[ "${version:-0}" -ge 252 ] || die "needs systemd 252 or later (Debian 12); this is ${version:-unknown}"
exec {lock}>/run/tuf-fleet-install.lock
flock -n "$lock" || die "another run is under way"

if [ "$uninstall" -eq 1 ]; then
    say "stop and disable the fleet"
    units=(tuf-fleet.target)
    for role in "${workers[@]}"; do units+=("$(unit "$role")"); done
    [ ! -e "$lib/systemd/system/tuf-fleet.target" ] ||
        act "systemctl disable --now ${units[*]}" systemctl disable --now "${units[@]}"
    say "remove programs, units and the site"
    for path in "${programs[@]/#//usr/local/bin/}" /usr/local/sbin/tuf-fleet-ceremony "$lib"/systemd/system/tuf-fleet* \
        "$lib/sysusers.d/tuf-fleet.conf" "$lib/tmpfiles.d/tuf-fleet.conf" /usr/local/share/man/man1/rugged{,-*}.1 "$site"; do
        [ ! -e "$path" ] || act "remove $path" rm -r "$path"
    done
    [ "$changes" -eq 0 ] || act "systemctl daemon-reload" systemctl daemon-reload
    ! active nginx.service || act "reload nginx" systemctl reload nginx.service
    # With $shipped, or the next run would take them for edited.
    say "kept: /etc/rugged, $data, /var/lib/rugged, the users, RabbitMQ with its configuration, nginx, $shipped"
    exit 0
fi

if [ -z "$binaries" ]; then
    for binaries in "${CARGO_TARGET_DIR:-$root/target}"/{dist,release}; do [ ! -x "$binaries/monitor-worker" ] || break; done
fi
for name in "${programs[@]}"; do
    [ -x "$binaries/$name" ] || die "$binaries/$name is missing: cargo build --profile dist, or --binaries DIR"
    "$binaries/$name" --version >"$work/version" 2>&1 || { cat "$work/version" >&2; die "$binaries/$name does not run here"; }
done

managed=/etc/rabbitmq/conf.d/90-tuf-fleet.conf
if installed rabbitmq-server && [ ! -e "$managed" ] && [ "$existing" -eq 0 ]; then
    die "RabbitMQ is installed already; to share it with the fleet: --existing-rabbitmq"
fi
if [ "$existing" -eq 1 ]; then
    [ ! -e "$managed" ] || die "this RabbitMQ is the fleet's own ($managed): run without --existing-rabbitmq"
    users=$(rabbitmqctl --quiet list_users --no-table-headers) || die "cannot ask RabbitMQ for its users: is it running?"
    for user in $broker_users; do
        [ -e "$broker/$user" ] || ! printf '%s\n' "$users" | cut -f1 | grep -qx "$user" ||
            die "RabbitMQ has a user $user that is not the fleet's; rename it first"
    done
fi

# A site that is there already keeps its address.
if [ -z "$listen" ] && [ -e "$site" ]; then listen=$(sed -n '/^ *listen /{s/^ *listen \([^ ;]*\).*/\1/p;q}' "$site"); fi
[ -n "$listen" ] || listen=127.0.0.1:8080

# --- programs, users, directories -------------------------------------------------------------------------------------

# The workers to restart, noted before their files change: a run that is killed in between is completed by the next one. The
# notes go with the machine's next start, which starts the workers too.
pending=/run/tuf-fleet-install.restart
declare -A restart=()
for role in "${workers[@]}"; do [ ! -e "$pending/$role" ] || restart[$role]=1; done
restart() {
    for role in "$@"; do
        restart[$role]=1
        [ "$dry" -eq 1 ] || { mkdir -p "$pending" && : >"$pending/$role"; } || fail "cannot write $pending/$role"
    done
}
# SOURCE DESTINATION WORKER...: whether a file is to be replaced, of which these workers have to be restarted.
replaces() { ! cmp -s "$1" "$2" && restart "${@:3}"; }

say "programs, into /usr/local/bin"
for name in "${programs[@]}"; do
    replaces "$binaries/$name" "/usr/local/bin/$name" "${name%-worker}" || true
    place "$binaries/$name" "/usr/local/bin/$name" 755 || true
done
place "$root/docker/ceremony.sh" /usr/local/sbin/tuf-fleet-ceremony 755 || true
mkdir "$work/man"
"$binaries/rugged" man --dir "$work/man" >/dev/null
manuals() { for page in "$work/man"/*; do put "$page" "/usr/local/share/man/man1/${page##*/}" 644 || return 1; done; }
for page in "$work/man"/*; do
    cmp -s "$page" "/usr/local/share/man/man1/${page##*/}" || { act "install the manual pages of rugged" manuals && break; }
done

say "units, users and directories"
reload=0
for path in "$here"/systemd/tuf-fleet.target "$here"/systemd/*.service; do
    name=$(basename "$path")
    role=${name#tuf-fleet-}
    replaces "$path" "$lib/systemd/system/$name" "${role%-worker.service}" || true
    if place "$path" "$lib/systemd/system/$name" 644; then reload=1; fi
done
common=tuf-fleet-.service.d/10-common.conf
replaces "$here/systemd/$common" "$lib/systemd/system/$common" "${workers[@]}" || true
if place "$here/systemd/$common" "$lib/systemd/system/$common" 644; then reload=1; fi
# A run that was killed may have left it to this one.
[ "$reload" -eq 1 ] || [ ! -e "$pending" ] || reload=1
[ "$reload" -eq 0 ] || act "systemctl daemon-reload" systemctl daemon-reload
place "$here/systemd/sysusers.conf" "$lib/sysusers.d/tuf-fleet.conf" 644 || true
id rugged rugged-targets rugged-snapshot rugged-timestamp rugged-admin >/dev/null 2>&1 ||
    act "make the users rugged, rugged-{targets,snapshot,timestamp,admin}" systemd-sysusers tuf-fleet.conf
place "$here/systemd/tmpfiles.conf" "$lib/tmpfiles.d/tuf-fleet.conf" 644 || true
# A file in /etc/tmpfiles.d with the same name takes precedence: the way to change an owner for good.
layout() {
    stat -c '%n %U:%G %a' "$data" "$data"/* "$data"/{tuf_repo,signing_keys}/* /etc/rugged "$broker" "$broker"/* 2>/dev/null
}
layout >"$work/before" || true
[ "$dry" -eq 1 ] || systemd-tmpfiles --create tuf-fleet.conf || fail "failed: systemd-tmpfiles --create tuf-fleet.conf"
layout >"$work/after" || true
cmp -s "$work/before" "$work/after" || act "make the directories below $data, and /etc/rugged" true
config_file=/etc/rugged/config.yaml
if [ ! -e "$config_file" ] || { cmp -s "$shipped$config_file" "$config_file" && ! cmp -s "$here/config.yaml" "$config_file"; }; then
    restart "${workers[@]}"
fi
place_configuration "$here/config.yaml" "$config_file" 644 || true

# --- broker -----------------------------------------------------------------------------------------------------------

say "passwords, into $broker"
declare -A owner=([operator]=rugged-admin:rugged [producer]=rugged:rugged)
make_password() {
    (umask 077 && new_broker_url "$1" 127.0.0.1 >"$broker/.$1") && chown "${owner[$1]:-root:root}" "$broker/.$1" &&
        chmod 400 "$broker/.$1" && mv "$broker/.$1" "$broker/$1"
}
files=()
for user in $broker_users; do
    if [ ! -s "$broker/$user" ]; then
        restart "${user%-worker}"
        act "make a password for $user" make_password "$user"
    fi
    files+=("$user=$broker/$user")
done

say "RabbitMQ"
settings=0 import=0
if [ "$dry" -eq 1 ] && [ ! -s "$broker/producer" ]; then
    act "install $definitions, with the hashes of the passwords" true
else
    render_definitions "$here/rabbitmq/definitions.json" "${files[@]}" >"$work/definitions.json"
    # It holds hashes of random passwords only, and RabbitMQ's user reads it.
    if place "$work/definitions.json" "$definitions" 644; then import=1; fi
fi
if [ "$existing" -eq 0 ]; then
    # Before the package, so that its first start already is on loopback and without a guest.
    for pair in "rabbitmq.conf $managed" "loopback.conf /etc/rabbitmq/conf.d/91-tuf-fleet-loopback.conf" \
        "rabbitmq-env.conf /etc/rabbitmq/rabbitmq-env.conf" "epmd.conf /etc/systemd/system/epmd.socket.d/tuf-fleet.conf"; do
        if place_configuration "$here/rabbitmq/${pair% *}" "${pair#* }" 644; then settings=1; fi
    done
    if ! installed rabbitmq-server; then
        act "install Debian's package rabbitmq-server, which starts it" packages rabbitmq-server
        settings=0 import=0
    fi
    if [ "$settings" -eq 1 ]; then
        act "restart RabbitMQ with its new settings" \
            sh -c 'systemctl daemon-reload && systemctl restart epmd.socket rabbitmq-server.service'
        import=0
    fi
fi
enabled rabbitmq-server.service || act "enable RabbitMQ" systemctl enable rabbitmq-server.service
active rabbitmq-server.service || act "start RabbitMQ" systemctl start rabbitmq-server.service
[ "$dry" -eq 1 ] || rabbitmqctl --quiet await_startup --timeout 120 >"$work/output" 2>&1 ||
    { cat "$work/output" >&2; fail "RabbitMQ does not start: journalctl -u rabbitmq-server, /var/log/rabbitmq"; }
# Also where its users were lost, or a file was installed and the run then ended.
accepts_passwords() {
    local user
    for user in $broker_users; do
        password_of "$broker/$user" | rabbitmqctl --quiet authenticate_user "$user" >/dev/null 2>&1 || return 1
    done
}
accepted=0
if [ "$dry" -eq 0 ] && [ "$import" -eq 0 ]; then if accepts_passwords; then accepted=1; else import=1; fi; fi
[ "$import" -eq 0 ] || act "import the users, permissions, exchanges and queues of the virtual host rugged" \
    rabbitmqctl --quiet import_definitions "$definitions"
[ "$dry" -eq 1 ] || [ "$accepted" -eq 1 ] || ! accepts_passwords || accepted=1

# --- nginx ------------------------------------------------------------------------------------------------------------

say "nginx, on $listen"
sed "s|^\( *listen \)8080;|\1$listen;|" "$here/nginx/tuf-fleet.conf" >"$work/tuf-fleet.conf"
changed=0
if place_configuration "$work/tuf-fleet.conf" "$site" 644; then changed=1; fi
if ! command -v nginx >/dev/null; then
    act "install Debian's package nginx" packages nginx
    # The page that greets a new nginx, on port 80 of every address.
    act "remove nginx's default site" rm -f /etc/nginx/sites-enabled/default
    changed=1
fi
enabled nginx.service || act "enable nginx" systemctl enable nginx.service
if [ "$changed" -eq 1 ] || ! active nginx.service; then
    [ "$dry" -eq 1 ] || nginx -t -q || fail "nginx does not accept its configuration ($site)"
    act "start or reload nginx" systemctl reload-or-restart nginx.service
fi

# --- keys, root, start ------------------------------------------------------------------------------------------------

if [ "$initialize" -eq 1 ]; then
    say "keys and root"
    has_root || has_keys || act "generate a key for each role that has none, below $data/signing_keys" make_keys
    has_root || act "sign the root: $data/tuf_repo/metadata/1.root.json" tuf-fleet-ceremony initialize
fi

if [ "$dry" -eq 1 ]; then
    has_root || [ "$initialize" -eq 1 ] || say "there is no repository yet: the fleet would not be started"
    say "$changes changes; nothing was done"
    exit 0
fi
if ! has_root; then
    say "$changes changes. There is no repository yet, so the fleet is not started. Next:"
    say "  $0 --initialize            # or, for keys of your own kind:"
    say "  tuf-fleet-ceremony generate-keys && tuf-fleet-ceremony initialize && $0"
    rm -rf "$pending"
    exit 0
fi

say "the fleet"
enabled tuf-fleet.target || act "enable tuf-fleet.target" systemctl enable tuf-fleet.target
for role in "${workers[@]}"; do
    name=$(unit "$role")
    enabled "$name" || act "enable $name" systemctl enable "$name"
    if ! active "$name"; then
        act "start $name" systemctl start "$name"
        rm -f "$pending/$role"
    elif [ -n "${restart[$role]:-}" ]; then
        act "restart $name" systemctl restart "$name"
        # One after the other; the checks below say why a worker does not answer.
        end=$((SECONDS + 30))
        until operator ping "$role-worker" --timeout 5 >/dev/null 2>&1 || [ "$SECONDS" -ge "$end" ]; do sleep 1; done
        rm -f "$pending/$role"
    fi
done
rm -rf "$pending"
active tuf-fleet.target || act "start tuf-fleet.target" systemctl start tuf-fleet.target
if [ ! -s "$data/tuf_repo/metadata/timestamp.json" ]; then
    act "let every role sign its first version" operator refresh-expiry
fi

# --- does it work? ----------------------------------------------------------------------------------------------------

say "checks"
failed=0 deadline=$((SECONDS + 90))
# WHAT NEXT COMMAND...: waits for COMMAND to succeed, for all checks together at most until the deadline.
check() {
    local what=$1 next=$2
    shift 2
    until "$@" >"$work/output" 2>&1; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            failed=$((failed + 1))
            say "  FAILED $what"
            tail -n 12 "$work/output" | sed 's/^/    /'
            say "    next: $next"
            return 0
        fi
        sleep 1
    done
    say "  ok $what"
}
for name in rabbitmq-server.service nginx.service tuf-fleet.target; do
    check "$name is active" "systemctl status $name" active "$name"
done
for role in "${workers[@]}"; do
    name=$(unit "$role")
    check "$name is active" "systemctl status $name" active "$name"
    check "$role-worker answers on ${health[$role]}: alive and ready" "journalctl -u $name -n 30" \
        env RUGGED_HEALTH_ADDRESS="${health[$role]}" "$role-worker" healthcheck
done
check "the broker accepts every password" "rabbitmqctl list_users" [ "$accepted" -eq 1 ]
check "rugged status: every worker does its job, and the repository verifies" "rugged status" operator status
check "rugged doctor finds nothing" "rugged doctor" env RUGGED_BROKER_URL_FILE="$broker/operator" rugged doctor
# The first address of the site, which an operator may have edited.
served=$(sed -n '/^ *listen /{s/^ *listen \([^ ;]*\).*/\1/p;q}' "$site")
case $served in
    0.0.0.0:* | '*:'*) served=127.0.0.1:${served##*:} ;;
    '[::]:'*) served="[::1]:${served##*:}" ;;
    *[!0-9]*) ;;
    *) served=127.0.0.1:$served ;;
esac
check "a client verifies the repository at http://$served" "tail /var/log/nginx/error.log" \
    operator validate --metadata "http://$served/metadata" --targets "http://$served/targets" \
    --trusted-root "$data/verification_keys/root.json"

[ "$changes" -gt 0 ] || say "nothing was changed"
if [ -n "$(find "$data/signing_keys/root" -type f -print -quit)" ]; then
    say "note: the root key is on this machine. Move $data/signing_keys/root to a safe place that is offline."
fi
if [ "$failed" -gt 0 ]; then
    say "$failed checks failed"
    exit 1
fi
say "the fleet runs. A pipeline (user rugged) renames a directory to $data/post_to_tuf/tuf_ready_X; Python programs of the" \
    "pipeline use the address in $broker/producer; an operator runs"
say "  RUGGED_BROKER_URL_FILE=$broker/operator rugged status"
