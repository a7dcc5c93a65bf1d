#!/bin/sh
# Runs once, when the database is made: the login and the database of docs/guide/postgresql.md.
set -eu
psql --username postgres --dbname postgres --set ON_ERROR_STOP=1 \
     --set password="$(cat /run/secrets/database-password)" <<'SQL'
create role adjutant_login login noinherit createrole password :'password';
create database adjutant owner adjutant_login;
SQL
