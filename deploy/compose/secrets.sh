#!/bin/sh
# Makes the secrets of ../compose.yaml, unless they are there already. Only you can look into the folder; the files in it can
# be read by the users inside the containers, which get them as they are.
set -eu
umask 077
folder=$(dirname "$0")/secrets
mkdir -p "$folder"
random() { od -An -tx1 -N24 /dev/urandom | tr -d ' \n'; }
keep() { [ -e "$folder/$1" ] || { printf '%s' "$2" > "$folder/$1"; chmod 444 "$folder/$1"; }; }
keep postgres-password "$(random)"
keep database-password "$(random)"
keep database-url "postgresql://adjutant_login:$(cat "$folder/database-password")@database/adjutant?sslmode=disable"
