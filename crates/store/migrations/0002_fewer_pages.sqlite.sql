-- A turn touches fewer pages: what can be had from another index or table is not kept twice.

-- Runs of an owner are found from the newest on by their identifiers; open ones by `runs_seat` and `runs_queue`.
drop index runs_by_owner;
drop index runs_open;

-- A seat was used when its thread was: one moment, one place, one index.
drop index sessions_by_use;
update threads
   set updated_at = max(updated_at, coalesce((select max(s.updated_at) from sessions s where s.thread = threads.id), 0));
alter table sessions drop column updated_at;

-- The lines of a run stand side by side, so that their sum needs no row of its own.
create table ledger_by_run (
    run         text    not null,
    reservation text    not null,
    owner       text    not null,
    run_name    text    not null,
    session     text    not null,
    session_key text    not null,
    agent       text    not null,
    day         text    not null,
    route       text    not null,
    reserved    integer not null check (reserved >= 0),
    settled     integer not null check (settled in (0, 1)),
    cost        integer,                      -- null: no price is known, or not settled
    input       integer not null default 0,
    output      integer not null default 0,
    cache_read  integer not null default 0,
    cache_write integer not null default 0,
    estimated   integer not null default 0,
    at          integer not null,
    primary key (run, reservation)
) strict, without rowid;

insert into ledger_by_run
select run, reservation, owner, run_name, session, session_key, agent, day, route, reserved, settled, cost, input, output,
       cache_read, cache_write, estimated, at
  from ledger;
drop table ledger;
alter table ledger_by_run rename to ledger;
create index ledger_by_day on ledger (owner, day);

delete from spend where scope = 'run';
