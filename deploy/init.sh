#!/bin/sh
# Makes the directories of docker-compose.yml with their owners and modes, a password for each user of the broker, and the
# broker's definitions from definitions.json. Run at every start; existing files keep their contents.
set -eu
umask 077
pipeline=${PIPELINE_UID:-440} timestamp=${TIMESTAMP_UID:-443}

# OWNER MODE DIRECTORY; set only where they differ, since not every share lets them be set
directory() {
    mkdir -p "$3"
    [ "$(stat -c '%u:%g' "$3")" = "$1" ] || chown "$1" "$3"
    [ "$(stat -c '%a' "$3")" = "$2" ] || chmod "$2" "$3"
}

directory 0:0 755 /data
directory "$pipeline:440" 755 /data/post_to_tuf
# The targets-worker takes loose files away, so the group may write.
directory "$pipeline:440" 2775 /data/incoming_targets
directory 0:440 755 /data/tuf_repo
# Three roles create names here. Sticky: none can remove or replace another's.
directory 0:440 3775 /data/tuf_repo/metadata
directory 441:440 2755 /data/tuf_repo/targets
directory 441:440 2750 /data/tuf_repo/log
directory 0:440 755 /data/verification_keys
directory 0:440 751 /data/signing_keys
directory 0:0 751 /data/state
directory "$pipeline:440" 700 /data/state/monitor-worker
directory 0:440 700 /data/state/root-worker
directory 444:440 700 /data/state/operator

for role in root:0 targets:441 snapshot:442 timestamp:$timestamp; do
    name=${role%:*} uid=${role#*:}
    directory "$uid:440" 700 "/data/signing_keys/$name"
    [ "$name" = root ] || directory "$uid:440" 700 "/data/state/$name-worker"
done

# --- broker -----------------------------------------------------------------------------------------------------------

. /rabbitmq/broker-users.sh

directory 0:0 711 /secrets
files=
for user in monitor-worker:$pipeline targets-worker:441 snapshot-worker:442 timestamp-worker:$timestamp producer:$pipeline operator:444; do
    name=${user%:*} uid=${user#*:}
    secrets=/secrets/$name
    directory "$uid:440" 500 "$secrets"
    if [ ! -s "$secrets/broker_url" ]; then
        new_broker_url "$name" rabbitmq >"$secrets/.broker_url"
        mv "$secrets/.broker_url" "$secrets/broker_url"
    fi
    chown "$uid:440" "$secrets/broker_url"
    chmod 400 "$secrets/broker_url"
    files="$files $name=$secrets/broker_url"
done

# It holds hashes of random passwords, and the broker's uid differs between images.
directory 0:0 755 /secrets/rabbitmq
# shellcheck disable=SC2086 # a list of words without spaces
render_definitions /rabbitmq/definitions.json $files >/secrets/rabbitmq/.definitions.json
chmod 644 /secrets/rabbitmq/.definitions.json
mv /secrets/rabbitmq/.definitions.json /secrets/rabbitmq/definitions.json
