-- Rows that are written one after the other lie one after the other: a table with an integer key takes a new row at its end
-- and touches one page, where one that is kept by its text key moves rows between three. So pages can be small, and a turn
-- writes less.

-- Every child is made anew beside a new parent: dropping a parent would take its children with it.
alter table runs rename to old_runs;
drop index runs_by_name;
drop index runs_queue;
drop index runs_due;
drop index runs_seat;

create table runs (
    n           integer not null primary key,  -- the number of its log
    id          text    not null unique,
    owner       text    not null,
    agent       text    not null,
    session     text    not null,  -- may be gone: a session that ended leaves its runs
    session_key text    not null,
    thread      text    not null references threads (id),
    client_key  text,
    priority    integer not null,
    method      text    not null,
    digest      text    not null,
    status      text    not null check (status in ('queued', 'running', 'parked', 'finished')),
    detail      text    not null,  -- the whole status
    fence       integer not null default 0,
    ready_at    integer not null,  -- since when it waits for a worker; orders the queue
    due_at      integer,           -- parked: the wake-up. Leases of running ones are not kept: their worker dies with the store
    worker      text,
    accepted_at integer not null,
    started_at  integer,
    finished_at integer
) strict;

insert into runs (id, owner, agent, session, session_key, thread, client_key, priority, method, digest, status, detail, fence,
                  ready_at, due_at, worker, accepted_at, started_at, finished_at)
select id, owner, agent, session, session_key, thread, client_key, priority, method, digest, status, detail, fence,
       ready_at, due_at, worker, accepted_at, started_at, finished_at
  from old_runs
 order by id;

create unique index runs_by_name on runs (owner, client_key) where client_key is not null;
-- Holds all that the search for the next run reads.
create index runs_queue on runs (priority desc, ready_at, id, owner, session) where status = 'queued';
create index runs_due on runs (due_at) where status = 'parked';
-- One active run per session (invariant 5).
create unique index runs_seat on runs (session) where status in ('running', 'parked');

alter table entries rename to old_entries;
create table entries (
    place integer not null primary key,  -- the run's number × 2^20 + the position in its log, from 1
    at    integer not null,
    kind  text    not null,
    body  text    not null
) strict;
insert into entries (place, at, kind, body)
select r.n * 1048576 + e.seq, e.at, e.kind, e.body
  from old_entries e join runs r on r.id = e.run
 order by 1;
drop table old_entries;

alter table run_aliases rename to old_run_aliases;
drop index run_aliases_by_run;
create table run_aliases (
    owner  text not null,
    name   text not null,
    run    text not null references runs (id) on delete cascade,
    method text not null,
    digest text not null,
    primary key (owner, name)
) strict, without rowid;
insert into run_aliases select owner, name, run, method, digest from old_run_aliases;
drop table old_run_aliases;
create index run_aliases_by_run on run_aliases (run);

alter table signals rename to old_signals;
drop index signals_by_run;
create table signals (
    n     integer not null primary key,
    run   text    not null references runs (id) on delete cascade,
    kind  text    not null,
    about text,                        -- the approval or the message, to find it when its entry is written
    body  text    not null,
    told  integer not null default 0,  -- the fence of the claim that heard it
    at    integer not null
) strict;
insert into signals select n, run, kind, about, body, told, at from old_signals;
drop table old_signals;
create index signals_by_run on signals (run, n);

alter table approvals rename to old_approvals;
drop index approvals_by_owner;
drop index approvals_open;
drop index approvals_by_run;
create table approvals (
    id         text    not null primary key,
    owner      text    not null,
    run        text    not null references runs (id) on delete cascade,
    state      text    not null check (state in ('open', 'allowed', 'denied', 'expired', 'cancelled')),
    expires_at integer not null,
    body       text    not null,  -- the question as it was asked
    choice     text,
    by         text
) strict, without rowid;
insert into approvals select id, owner, run, state, expires_at, body, choice, by from old_approvals;
drop table old_approvals;
create index approvals_by_owner on approvals (owner, id);
create index approvals_open on approvals (owner, id) where state = 'open';
create index approvals_by_run on approvals (run);

drop table old_runs;

alter table events rename to old_events;
create table events (
    cursor   integer not null primary key,  -- rises through all owners, in the order of commits; may have gaps
    owner    text    not null,
    at       integer not null,
    run      text,
    run_name text,
    session  text,
    kind     text    not null
) strict;
insert into events (cursor, owner, at, run, run_name, session, kind)
select cursor, owner, at, run, run_name, session, kind from old_events order by cursor;
drop table old_events;
