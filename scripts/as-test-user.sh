#!/bin/sh
# Runs a command as the user the tests belong to. scripts/test.sh names it as cargo's runner when it is root itself: as
# root every permission test would pass, and none would mean anything. Cargo and the compiler stay with the caller.
set -eu
: "${TUF_FLEET_TEST_USER:?}" "${TUF_FLEET_TEST_HOME:?}"

uid=$(id -u "$TUF_FLEET_TEST_USER")
gid=$(id -g "$TUF_FLEET_TEST_USER")
exec setpriv --reuid "$uid" --regid "$gid" --clear-groups --inh-caps=-all \
    env HOME="$TUF_FLEET_TEST_HOME" TMPDIR="$TUF_FLEET_TEST_HOME/tmp" USER="$TUF_FLEET_TEST_USER" \
    LOGNAME="$TUF_FLEET_TEST_USER" XDG_RUNTIME_DIR= "$@"
