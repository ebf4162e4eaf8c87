#!/usr/bin/env bash
# Runs our benchmarks and the Python peers on the same work, and prints them side by side.
#
#   benches/run.sh [--quick] [--no-peers] [--only tuf|celery|celery-rabbitmq|celery-redis]
#
#   --quick     small sizes, for a look at whether it runs
#   --no-peers  ours alone
#   --only      a part: `tuf` is the repository and its fleet, `celery` a task that does nothing beside Python Celery
#
# Needs the same packages as scripts/test.sh. The raw lines are kept in target/bench/{ours,peers}.jsonl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 022

quick=0 peers=1 only=
usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }
while [ $# -gt 0 ]; do
    case $1 in
        --quick) quick=1 ;;
        --no-peers) peers=0 ;;
        --only) [ $# -gt 1 ] || usage; only=$2; shift ;;
        *) usage ;;
    esac
    shift
done
measures=() tuf=1
case $only in
    '') ;;
    tuf) measures=(flat bins latency burst workers web) ;;
    celery) measures=(celery-rabbitmq celery-redis) tuf=0 ;;
    celery-rabbitmq | celery-redis) measures=("$only") tuf=0 ;;
    *) usage ;;
esac

target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
out=$target/bench
python=$target/test-venv/bin/python
mkdir -p "$out"
if ! { [ -x "$python" ] && cmp -s tests/python/requirements.txt "$target/test-venv/requirements.txt"; }; then
    # Where the test user cannot reach this folder the environment is elsewhere; the script says where.
    python=$(./scripts/test.sh --setup-only 2>&1 | tee /dev/stderr | sed -n 's/^ready: //p' | tail -n 1)
fi
[ -x "$python" ] || { echo "benches/run.sh: no Python environment: see what scripts/test.sh --setup-only says" >&2; exit 2; }

run=$(mktemp -d "$out/run.XXXXXX")
broker_pid=
cleanup() {
    local status=$?
    trap - EXIT
    if [ -n "$broker_pid" ]; then
        exec 9>&-
        wait "$broker_pid" 2>/dev/null || true
    fi
    rm -rf "$run"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The workers by themselves: with `rugged` in one build they would get the features of its dependencies too.
[ "$tuf" -eq 0 ] || cargo build --release -p monitor-worker -p targets-worker -p snapshot-worker -p timestamp-worker
[ "$tuf" -eq 0 ] || cargo build --release -p rugged-cli
cargo build --release -p fleet-benches --bins

# Its input is open nowhere but here, so that it goes when this does.
mkfifo "$run/commands"
exec 8<>"$run/commands"
exec 9>"$run/commands"
/usr/bin/python3 -B scripts/private-rabbitmq.py --dir "$run/rabbitmq" <"$run/commands" >"$run/rabbitmq.json" 8>&- 9>&- &
broker_pid=$!
exec 8>&-
until [ -s "$run/rabbitmq.json" ]; do
    kill -0 "$broker_pid" 2>/dev/null || { echo "benches/run.sh: the private RabbitMQ did not start" >&2; exit 1; }
    sleep 0.1
done
TUF_FLEET_TEST_RABBITMQ=$(head -n 1 "$run/rabbitmq.json")
export TUF_FLEET_TEST_RABBITMQ TUF_FLEET_TEST_BIN=$target/release TUF_FLEET_TEST_PYTHON=$python
amqp=$(printf '%s' "$TUF_FLEET_TEST_RABBITMQ" | sed -n 's/.*"amqp": *"\([^"]*\)".*/\1/p')
[ -n "$amqp" ] || { printf '%s\n' "$TUF_FLEET_TEST_RABBITMQ" >&2; exit 1; }

ours=(--dir "$run") peer=()
if [ "$quick" -eq 1 ]; then
    ours+=(--quick)
    peer=(--flat 1000,10000 --bins-targets 20000 --bins 1024 --batch 1000)
fi
[ "$peers" -eq 1 ] || ours+=(--no-peers)
"$target/release/bench" --json "${ours[@]}" "${measures[@]}" 9>&- | tee "$out/ours.jsonl"

: >"$out/peers.jsonl"
if [ "$peers" -eq 1 ] && [ "$tuf" -eq 1 ]; then
    "$python" -B benches/peers/python_tuf_bench.py --dir "$run" "${peer[@]}" 9>&- | tee -a "$out/peers.jsonl"
    "$python" -B benches/peers/celery_start.py --broker "$amqp" 9>&- | tee -a "$out/peers.jsonl"
fi
echo
"$python" -B benches/peers/table.py "$out/ours.jsonl" "$out/peers.jsonl"
