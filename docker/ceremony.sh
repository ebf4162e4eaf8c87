#!/bin/sh
# root-worker, and then every new private key to the role it belongs to: a worker reads keys of its own only, and each
# role has a uid of its own. The owner of signing_keys/ROLE says which; without the right to give files away nothing is
# changed.
set -eu
root-worker "$@"
keys=${RUGGED_SIGNING_KEYS_PATH:-/var/rugged/signing_keys}
if [ "$(id -u)" -eq 0 ]; then
    for role in "$keys"/*/; do
        [ -d "$role" ] || continue
        find "$role" -mindepth 1 -maxdepth 1 -type f -exec chown --reference="$role" {} + -exec chmod 0400 {} +
    done
fi
