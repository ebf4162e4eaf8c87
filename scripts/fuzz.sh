#!/usr/bin/env bash
# Fuzzes every decoder of data from a broker, or from another process or a file of this machine, on a stable
# toolchain. Not a part of the test suite, which replays the corpus that this keeps.
#
#   scripts/fuzz.sh [--seconds N] [--rss-mb N] [--max-len N] [--keep] [TARGET ...]
#
#   --seconds N  how long each target runs (default 600)
#   --rss-mb N   memory above which a target is ended as a finding, in MiB (default 1024)
#   --max-len N  the longest input, in bytes (default 4096)
#   --keep       afterwards, the findings are added to fuzz/corpus, as small as they can be
#   TARGET       task, messages, values, wire, local (default: all, one after the other)
#
# Prints a line per target. Ends with 1 if there is a finding, whose input and report are then named. Needs a C++ compiler
# and Python 3.
set -euo pipefail
umask 022

all=(task messages values wire local)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
work=$root/target/fuzz
seconds=600 rss=1024 longest=4096 keep=0 targets=()

usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }
die() { printf 'fuzz.sh: %s\n' "$*" >&2; exit 2; }
number() { [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "$1 needs a number"; printf '%s' "$2"; }

while [ $# -gt 0 ]; do
    case $1 in
        --seconds) seconds=$(number "$@"); shift ;;
        --rss-mb) rss=$(number "$@"); shift ;;
        --max-len) longest=$(number "$@"); shift ;;
        --keep) keep=1 ;;
        -h | --help) usage; exit 0 ;;
        -*) usage >&2; exit 2 ;;
        *)
            [[ " ${all[*]} " = *" $1 "* ]] || die "there is no target $1 (there are: ${all[*]})"
            targets+=("$1")
            ;;
    esac
    shift
done
[ ${#targets[@]} -gt 0 ] || targets=("${all[@]}")

# Counters in every block of our code and of what it uses, and the values that comparisons are made with. No sanitizer:
# the code is safe Rust, in which overflows and indices out of bounds are panics.
flags="-Cpasses=sancov-module -Ccodegen-units=1 --cfg fuzzing"
for flag in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=" -Cllvm-args=-sanitizer-coverage-$flag"
done
host=$(rustc -vV | sed -n 's/^host: //p')
# With a target named, scripts that run while building are built without these flags.
(cd "$root/fuzz" && RUSTFLAGS=$flags cargo build --quiet --locked --target "$host" --target-dir "$work")
fuzzer=$work/$host/debug/fuzz

rm -rf "$work/seeds"
python3 "$root/fuzz/seeds.py" "$root/crates/celery-protocol/tests/golden" "$work/seeds"

# run_target NAME: says how it went; 1 if something was found
run_target() {
    local name=$1 found="$work/found/$1" log="$work/$1.log" status=0
    mkdir -p "$found" "$work/corpus/$name" "$root/fuzz/corpus/$name"
    FUZZ_TARGET=$name "$fuzzer" -max_total_time="$seconds" -max_len="$longest" -rss_limit_mb="$rss" -timeout=20 \
        -dict="$root/fuzz/words.dict" -print_final_stats=1 -artifact_prefix="$found/" \
        "$work/corpus/$name" "$root/fuzz/corpus/$name" "$work/seeds/$name" >"$log" 2>&1 </dev/null || status=$?
    local coverage executions memory
    coverage=$(grep -aEo 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -n 1 || true)
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    memory=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
    printf '%-9s at most %s s, %s executions, %s, at most %s MiB: ' \
        "$name" "$seconds" "${executions:-no}" "${coverage:-no coverage}" "${memory:-?}"
    if [ "$status" -ne 0 ]; then
        printf 'FOUND something (%s, input in %s)\n' "$log" "$found"
        return 1
    fi
    echo "nothing found"
}

# keep_corpus NAME: the smallest inputs that reach all that was reached
keep_corpus() {
    local name=$1 merged="$work/merged/$1"
    rm -rf "$merged"
    mkdir -p "$merged"
    FUZZ_TARGET=$name "$fuzzer" -set_cover_merge=1 -max_len="$longest" "$merged" \
        "$root/fuzz/corpus/$name" "$work/corpus/$name" "$work/seeds/$name" >"$work/$name.merge.log" 2>&1 </dev/null
    rm -rf "${root:?}/fuzz/corpus/$name"
    cp -R "$merged" "$root/fuzz/corpus/$name"
}

findings=0
for name in "${targets[@]}"; do
    if run_target "$name"; then
        [ "$keep" -eq 0 ] || keep_corpus "$name"
    else
        findings=1
    fi
done
exit "$findings"
