#!/usr/bin/env bash
# Builds the images: one per process, named PREFIX/NAME:TAG.
#
#   docker/build.sh [--profile PROFILE] [--in-docker] [--binaries DIR] [NAME...]
#
#   --profile PROFILE  cargo profile to build with (dist)
#   --binaries DIR     takes these binaries and compiles nothing
#   --in-docker        compiles in a container; needs no Rust toolchain here
#   NAME               monitor-worker, targets-worker, snapshot-worker, timestamp-worker, root-worker, rugged; without
#                      any, all
#
# IMAGE_PREFIX (tuf-fleet) and IMAGE_TAG (latest) name the images as deploy/.env does, BASE_IMAGE and RUST_IMAGE replace
# debian:bookworm-slim and rust:1-bookworm.
set -euo pipefail
umask 022
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
all=(monitor-worker targets-worker snapshot-worker timestamp-worker root-worker rugged)
prefix=${IMAGE_PREFIX:-tuf-fleet} tag=${IMAGE_TAG:-latest}

die() { printf 'build.sh: %s\n' "$*" >&2; exit 2; }
usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

profile=dist in_docker=0 binaries=
while [ $# -gt 0 ]; do
    case $1 in
        --profile) profile=${2:?--profile needs a name}; shift ;;
        --binaries) binaries=${2:?--binaries needs a directory}; shift ;;
        --in-docker) in_docker=1 ;;
        -h | --help) usage; exit 0 ;;
        -*) usage >&2; exit 2 ;;
        *) break ;;
    esac
    shift
done
[ $# -gt 0 ] || set -- "${all[@]}"

context=$(mktemp -d)
container=
cleanup() {
    [ -z "$container" ] || docker rm -f "$container" >/dev/null
    rm -rf "$context"
}
trap cleanup EXIT

cd "$root"
if [ "$in_docker" -eq 1 ]; then
    # Only what belongs to the sources is sent: a context that is read from a tar stream needs no .dockerignore.
    git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from - --ignore-failed-read |
        docker build --file docker/Dockerfile.build --tag "$prefix/build:$tag" \
            ${RUST_IMAGE:+--build-arg "RUST_IMAGE=$RUST_IMAGE"} -
    container=$(docker create "$prefix/build:$tag")
    docker cp "$container:/binaries/." "$context/"
else
    if [ -z "$binaries" ]; then
        command -v cargo >/dev/null || die "cargo is missing: use --in-docker or --binaries"
        packages=()
        for name in "${all[@]}"; do
            if [ "$name" = rugged ]; then packages+=(-p rugged-cli); else packages+=(-p "$name"); fi
        done
        cargo build --profile "$profile" --locked --bins "${packages[@]}"
        target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
        case $profile in
            dev | test) binaries=$target/debug ;;
            *) binaries=$target/$profile ;;
        esac
    fi
    for name in "$@"; do [ -x "$binaries/$name" ] || die "$binaries/$name is missing"; done
    # All that there are: a builder other than BuildKit makes every stage that stands before the wanted one.
    for name in "${all[@]}"; do
        [ -x "$binaries/$name" ] || continue
        # Without symbols; where there is no strip, as it is.
        strip -o "$context/$name" "$binaries/$name" 2>/dev/null || cp "$binaries/$name" "$context/$name"
    done
fi
install -m 755 docker/ceremony.sh "$context/ceremony.sh"
chmod 755 "$context" "$context"/*

for name in "$@"; do
    docker build --file docker/Dockerfile --target "$name" --tag "$prefix/$name:$tag" \
        ${BASE_IMAGE:+--build-arg "BASE_IMAGE=$BASE_IMAGE"} "$context"
    printf 'built %s\n' "$prefix/$name:$tag"
done
