# shellcheck shell=sh disable=SC2034,SC2059 # sourced; printf makes bytes
# Functions of init.sh and install.sh: addresses of the broker with random passwords, and the definitions that RabbitMQ
# imports. POSIX shell, to be sourced. Passwords pass through builtins, pipes and files only, so `ps` never shows one.

broker_users="monitor-worker targets-worker snapshot-worker timestamp-worker producer operator"

# The bytes that a string of hexadecimal digits means.
unhex() {
    rest=$1
    while [ -n "$rest" ]; do
        tail=${rest#??}
        printf "\\$(printf %03o "0x${rest%"$tail"}")"
        rest=$tail
    done
}

# USER HOST: an address with a new password.
new_broker_url() {
    printf 'amqp://%s:%s@%s:5672/rugged\n' "$1" "$(od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n')" "$2"
}

# FILE: the password in an address.
password_of() { sed 's|^amqps*://[^:]*:\([^@]*\)@.*|\1|' "$1"; }

# RabbitMQ keeps base64(salt, sha256(salt, password)). The salt follows from the password, so that the same passwords give
# the same definitions at every run; passwords of 256 random bits need no other salt.
password_hash() {
    salt=$(printf 'salt %s' "$1" | sha256sum | cut -c1-8)
    sum=$({ unhex "$salt"; printf %s "$1"; } | sha256sum)
    unhex "$salt${sum%% *}" | base64 -w0
}

# TEMPLATE FILE-OF-USER...: definitions.json with the hashes of the passwords, where each FILE-OF-USER is NAME=FILE.
render_definitions() {
    template=$1
    shift
    for user in "$@"; do
        printf 's|@%s@|%s|\n' "${user%%=*}" "$(password_hash "$(password_of "${user#*=}")")"
    done | sed -f - "$template"
}
