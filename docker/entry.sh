#!/bin/sh
# Entry of the images: `docker run IMAGE run --budget 1e12` is `einsearch run --budget 1e12`; einsearch, ray, python
# and other programs may be named too. What it does before depends on the environment:
#   EINSEARCH_DB_PASSWORD_FILE  a file with the database's password: it goes to ~/.pgpass, where PostgreSQL's client
#                               library looks for it, and so into no URL, no argument and no variable
#   EINSEARCH_RAY_HEAD          HOST:PORT of a Ray head: the container joins that cluster, without CPUs or GPUs for
#                               others' work, so that a driver in it can use --address auto
#   RAY_AUTH_MODE               token unless it is set: without a token no part of Ray starts, rather than an open one
set -eu

fail() {
    echo "einsearch-entry: $*" >&2
    exit 2
}

if [ -n "${EINSEARCH_DB_PASSWORD_FILE:-}" ]; then
    [ -r "$EINSEARCH_DB_PASSWORD_FILE" ] ||
        fail "EINSEARCH_DB_PASSWORD_FILE=$EINSEARCH_DB_PASSWORD_FILE cannot be read by user $(id -u); check path and mode"
    [ -s "$EINSEARCH_DB_PASSWORD_FILE" ] ||
        fail "EINSEARCH_DB_PASSWORD_FILE=$EINSEARCH_DB_PASSWORD_FILE is empty; write the password into it"
    # A colon or a backslash would end the field; the first line is the password, as psql reads it.
    (
        umask 077
        printf '*:*:*:*:%s\n' "$(sed -e 's/[\\:]/\\&/g' -e q "$EINSEARCH_DB_PASSWORD_FILE")" >"$HOME/.pgpass.$$"
        mv "$HOME/.pgpass.$$" "$HOME/.pgpass"
    )
fi

export RAY_AUTH_MODE="${RAY_AUTH_MODE:-token}"

if [ -n "${EINSEARCH_RAY_HEAD:-}" ]; then
    ray start --address="$EINSEARCH_RAY_HEAD" --num-cpus=0 --num-gpus=0 --log-style=record >&2
fi

case "${1:-}" in
einsearch | ray | python | sh | bash | /*) exec "$@" ;;
*) exec einsearch "$@" ;;
esac
