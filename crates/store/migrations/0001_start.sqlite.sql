-- The first schema. Identifiers are `<prefix>_<ULID>`, so they sort by birth and new rows land on the same pages.
-- Moments are milliseconds since the Unix epoch; money is millionths of a dollar. Every row names its owner.

create table threads (
    id         text    not null primary key,
    owner      text    not null,
    agent      text    not null,
    title      text,
    created_at integer not null,
    updated_at integer not null,
    head       integer not null default 0 check (head >= 0),     -- the last position that was given out
    hidden     integer not null default 0 check (hidden >= 0),   -- everything up to here is behind a summary
    messages   integer not null default 0 check (messages >= 0)  -- all of them, the waiting ones included
) strict, without rowid;

create index threads_by_use on threads (owner, updated_at);

create table messages (
    n      integer not null primary key,  -- ties the row to its text index
    id     text    not null unique,
    owner  text    not null,
    thread text    not null references threads (id),
    seq    integer check (seq >= 1),      -- null while the run that answers it has not begun
    role   text    not null,
    parts  text    not null,
    run    text,
    label  text    not null,
    at     integer not null
) strict;

create unique index messages_by_place on messages (thread, seq);

-- Filled by the writer when it is idle and before a search; `searched.through` is the last row that is in it.
create virtual table messages_text using fts5 (text, content = '', tokenize = 'porter unicode61');
insert into messages_text (messages_text, rank) values ('secure-delete', 1);

create table searched (
    id      integer not null primary key check (id = 1),
    through integer not null
) strict;
insert into searched (id, through) values (1, 0);

create table sessions (
    id         text    not null primary key,
    owner      text    not null,
    key        text    not null,
    agent      text    not null,
    thread     text    not null references threads (id),
    label      text,
    model      text,
    expires_at integer,
    created_at integer not null,
    updated_at integer not null
) strict, without rowid;

create unique index sessions_by_key on sessions (owner, key);
create index sessions_by_use on sessions (owner, updated_at);
create index sessions_by_thread on sessions (thread);

create table runs (
    id          text    not null primary key,
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
    head        integer not null default 0,  -- the last position of its log
    ready_at    integer not null,  -- since when it waits for a worker; orders the queue
    due_at      integer not null,  -- running: the end of the lease; parked: the wake-up
    worker      text,
    accepted_at integer not null,
    started_at  integer,
    finished_at integer
) strict, without rowid;

create unique index runs_by_name on runs (owner, client_key) where client_key is not null;
create index runs_by_owner on runs (owner, id);
create index runs_open on runs (owner, session) where status <> 'finished';
-- Holds all that the search for the next run reads.
create index runs_queue on runs (priority desc, ready_at, id, owner, session) where status = 'queued';
create index runs_due on runs (due_at) where status in ('running', 'parked');
-- One active run per session (invariant 5).
create unique index runs_seat on runs (session) where status in ('running', 'parked');

-- Keys of messages that went to a run that waited for the owner's words.
create table run_aliases (
    owner  text not null,
    name   text not null,
    run    text not null references runs (id) on delete cascade,
    method text not null,
    digest text not null,
    primary key (owner, name)
) strict, without rowid;

create index run_aliases_by_run on run_aliases (run);

create table entries (
    run  text    not null references runs (id) on delete cascade,
    seq  integer not null check (seq >= 1),
    at   integer not null,
    kind text    not null,
    body text    not null,
    primary key (run, seq)
) strict, without rowid;

create table signals (
    n    integer not null primary key,
    run  text    not null references runs (id) on delete cascade,
    kind text    not null,
    about text,                        -- the approval or the message, to find it when its entry is written
    body text    not null,
    told integer not null default 0,   -- the fence of the claim that heard it
    at   integer not null
) strict;

create index signals_by_run on signals (run, n);

create table agents (
    owner    text    not null,
    name     text    not null,
    revision integer not null,
    body     text    not null,
    primary key (owner, name)
) strict, without rowid;

create table tools (
    name text not null primary key,
    body text not null
) strict, without rowid;

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

create index approvals_by_owner on approvals (owner, id);
create index approvals_open on approvals (owner, id) where state = 'open';
create index approvals_by_run on approvals (run);

create table grants (
    id    text not null primary key,
    owner text not null,
    agent text not null,
    body  text not null
) strict, without rowid;

create index grants_by_owner on grants (owner, id);

-- One row per model call: open while the call is under way, settled after.
create table ledger (
    reservation text    not null primary key,
    owner       text    not null,
    run         text    not null,
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
    at          integer not null
) strict, without rowid;

create index ledger_by_day on ledger (owner, day);

-- Sums over the ledger, kept in the same transactions; `verify` adds up and compares.
create table spend (
    owner       text    not null,
    scope       text    not null check (scope in ('run', 'session', 'day')),
    key         text    not null,
    used        integer not null default 0,
    reserved    integer not null default 0 check (reserved >= 0),
    calls       integer not null default 0,
    unpriced    integer not null default 0,
    input       integer not null default 0,
    output      integer not null default 0,
    cache_read  integer not null default 0,
    cache_write integer not null default 0,
    estimated   integer not null default 0,
    primary key (owner, scope, key)
) strict, without rowid;

create table buckets (
    name  text    not null primary key,
    level integer not null,  -- in 1/60,000 of a token: what one token per minute gains in a millisecond
    at    integer not null
) strict, without rowid;

create table memories (
    n          integer not null primary key,
    id         text    not null unique,
    owner      text    not null,
    scope      text    not null,  -- `owner`, `agent:<name>`, `session:<id>`
    key        text,
    body       text    not null,
    text       text    not null,
    created_at integer not null,
    expires_at integer
) strict;

create unique index memories_by_key on memories (owner, scope, key) where key is not null;
create index memories_by_age on memories (owner, created_at);

create virtual table memories_text using fts5 (text, content = '', tokenize = 'porter unicode61');
insert into memories_text (memories_text, rank) values ('secure-delete', 1);

create table events (
    owner    text    not null,
    cursor   integer not null,  -- rises through all owners, in the order of commits; may have gaps
    at       integer not null,
    run      text,
    run_name text,
    session  text,
    kind     text    not null,
    primary key (owner, cursor)
) strict, without rowid;

-- The highest cursor that rows may not show any more, because they were removed.
create table feed (
    id     integer not null primary key check (id = 1),
    cursor integer not null
) strict;
insert into feed (id, cursor) values (1, 0);

create table answers (
    owner  text    not null,
    method text    not null,
    key    text    not null,
    digest text    not null,
    answer text    not null,
    at     integer not null,
    primary key (owner, method, key)
) strict, without rowid;

create index answers_by_age on answers (at);

create table audit (
    seq     integer not null primary key,
    at      integer not null,
    owner   text    not null,
    by      text    not null,
    action  text    not null,
    subject text    not null,
    detail  text    not null,
    hash    text    not null
) strict;

create index audit_by_owner on audit (owner, seq);

-- Append-only (S49): a program that forgets this is stopped by the database.
create trigger audit_stays before update on audit begin select raise(abort, 'the audit chain is append-only'); end;
create trigger audit_keeps before delete on audit begin select raise(abort, 'the audit chain is append-only'); end;

create table workers (
    id      text    not null primary key,
    seen_at integer not null,
    body    text    not null
) strict, without rowid;
