#!/bin/sh
# Make the secrets of compose.yaml, random, where they are missing: sh docker/make-secrets.sh [FOLDER]
# Compose shows each file as it is to the container, whose user is another than yours: so the files can be read by
# all and the folder only by you.
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 0700 "$folder"
for name in postgres_password ray_token; do
    if [ -e "$folder/$name" ]; then
        echo "kept $folder/$name"
    else
        od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$folder/$name"
        chmod 0444 "$folder/$name"
        echo "made $folder/$name"
    fi
done
