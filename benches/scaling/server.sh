#!/bin/sh
# A throwaway PostgreSQL for the scripts beside this file, without a network port, gone with its folder.
#   server.sh start FOLDER [FLUSH_US]    makes it if need be; every flush takes so many microseconds longer
#   server.sh stop FOLDER
# As root it runs as the user `postgres`. A folder in memory (/dev/shm/…) makes the flush what FLUSH_US says and nothing else.
set -eu
action=$1 folder=$2 flush=${3:-0}
here=$(cd "$(dirname "$0")" && pwd)
bin=${PGBIN:-$(pg_config --bindir)}
as() { if [ "$(id -u)" = 0 ]; then su postgres -s /bin/sh -c "$1"; else sh -c "$1"; fi; }

if [ "$action" = stop ]; then
    as "'$bin/pg_ctl' -D '$folder/data' -m fast -w stop"
    exit
fi
mkdir -p "$folder"
cc -O1 -shared -fPIC -o "$folder/slow_flush.so" "$here/slow_flush.c" -ldl
[ "$(id -u)" != 0 ] || chown postgres "$folder"
if [ ! -e "$folder/data" ]; then
    as "'$bin/initdb' -D '$folder/data' -U postgres -A trust -E UTF8 --locale=C.UTF-8 > '$folder/initdb.log'"
    as "cat >> '$folder/data/postgresql.conf'" <<C
listen_addresses = ''
unix_socket_directories = '$folder'
shared_buffers = 1GB
max_wal_size = 2GB
max_connections = 200
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track = all
C
fi
! as "'$bin/pg_ctl' -D '$folder/data' status" >/dev/null || as "'$bin/pg_ctl' -D '$folder/data' -m fast -w stop" >/dev/null
as "LD_PRELOAD='$folder/slow_flush.so' FLUSH_US=$flush '$bin/pg_ctl' -D '$folder/data' -l '$folder/log' -w start" >/dev/null
psql="psql -h $folder -U postgres -Xq -v ON_ERROR_STOP=1"
if [ "$($psql -At -c "select count(*) from pg_roles where rolname = 'adjutant_login'" postgres)" = 0 ]; then
    $psql -c 'create role adjutant_login login noinherit createrole' \
          -c 'create database adjutant owner adjutant_login' -c 'create database scaling owner adjutant_login' postgres
    $psql -c 'create extension pg_stat_statements' adjutant
fi
echo "PGHOST=$folder; url: postgresql://adjutant_login@$(echo "$folder" | sed 's#/#%2F#g')/adjutant"
