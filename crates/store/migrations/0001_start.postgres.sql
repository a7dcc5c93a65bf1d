-- The whole schema in PostgreSQL 15 or newer: needs no extension and no superuser.
-- Identifiers are `<prefix>_<ULID>`; moments are milliseconds since the Unix epoch; money is millionths of a dollar.
-- What is sorted is compared by its bytes, whatever the database's language.
-- Values kept as JSON are `text`: `jsonb` would reorder their keys and refuse NUL, and nothing here looks inside them.
--
-- Every table names its owner, has row security enabled and forced, and a policy for every role that may touch it.
-- The names in brackets are the roles, which the program sets for each transaction:
--   adjutant_app      one owner's rows, written and read; what all of the program but the queue uses
--   adjutant_worker   the queue across owners: which run is next, whose it is, how long
--   adjutant_auditor  reads everything and changes nothing: the check of everything
--   adjutant_reader   what clients with a token of the platform (Supabase) may read: their own and what is shared with them

create schema if not exists adjutant;
set local search_path to adjutant;

do $$
declare
    wanted text;
begin
    foreach wanted in array array['adjutant_app', 'adjutant_worker', 'adjutant_auditor', 'adjutant_reader'] loop
        begin
            if not exists (select 1 from pg_roles where rolname = wanted) then
                execute format('create role %I nologin noinherit', wanted);
            end if;
        exception when duplicate_object or unique_violation then
            null;  -- another database of this cluster was set up at the same moment
        end;
        begin
            if not (select rolsuper from pg_roles where rolname = current_user) then
                execute format('grant %I to current_user', wanted);
            end if;
        exception when insufficient_privilege then
            null;  -- whoever made the roles has to have granted them; the program says so when it cannot take one
        end;
    end loop;
end $$;

revoke all on schema adjutant from public;
grant usage on schema adjutant to adjutant_app, adjutant_worker, adjutant_auditor, adjutant_reader;

-- Whose transaction this is. The program sets the claims itself; on Supabase the platform does, and the owner is the
-- `adjutant_owner` of the part of the token that users cannot write, or else the user.
create function me() returns text
    language sql stable parallel safe
    return coalesce(
        nullif(current_setting('request.jwt.claims', true), '')::jsonb -> 'app_metadata' ->> 'adjutant_owner',
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub');

revoke execute on function me() from public;
grant execute on function me() to adjutant_app, adjutant_worker, adjutant_auditor, adjutant_reader;

create function clock_ms() returns bigint
    language sql volatile parallel safe
    return (extract(epoch from clock_timestamp()) * 1000)::bigint;

revoke execute on function clock_ms() from public;
grant execute on function clock_ms() to adjutant_app, adjutant_worker, adjutant_auditor, adjutant_reader;

-- A statement that has to change something and does not is an error, which undoes what was sent with it.
create function must_change(n bigint) returns bigint language plpgsql as $$
begin
    if n = 0 then
        raise exception 'nothing was changed' using errcode = 'AD404';
    end if;
    return n;
end $$;

revoke execute on function must_change(bigint) from public;
grant execute on function must_change(bigint) to adjutant_app, adjutant_worker;

-- English stems, no stop words, case folded: what the text index of the other database does.
create text search dictionary stem (template = pg_catalog.snowball, language = english);
create text search configuration words (copy = pg_catalog.simple);
alter text search configuration words alter mapping for asciiword, word with stem;

create table threads (
    id         text collate "C"   not null primary key,
    owner      text collate "C"   not null,
    agent      text collate "C"   not null,
    title      text,
    created_at bigint not null,
    updated_at bigint not null,
    head       bigint not null default 0 check (head >= 0),     -- the last position that was given out
    hidden     bigint not null default 0 check (hidden >= 0),   -- everything up to here is behind a summary
    messages   bigint not null default 0 check (messages >= 0)  -- all of them, the waiting ones included
) with (fillfactor = 80);

create index threads_by_use on threads (owner, updated_at);

create table messages (
    n      bigint   not null generated always as identity primary key,
    id     text collate "C"     not null unique,
    owner  text collate "C"     not null,
    thread text collate "C"     not null references threads (id),
    seq    bigint   check (seq >= 1),  -- null while the run that answers it has not begun
    role   text     not null,
    parts  text     not null,
    run    text collate "C",
    label  text     not null,
    at     bigint   not null,
    words  tsvector not null
);

create unique index messages_by_place on messages (thread, seq);
create index messages_waiting on messages (run) where seq is null;
create index messages_text on messages using gin (words);

create table sessions (
    id         text collate "C"   not null primary key,
    owner      text collate "C"   not null,
    key        text collate "C"   not null,
    agent      text collate "C"   not null,
    thread     text collate "C"   not null references threads (id),
    label      text,
    model      text,
    expires_at bigint,
    created_at bigint not null
);

create unique index sessions_by_key on sessions (owner, key);
create index sessions_by_thread on sessions (thread);

create table runs (
    id          text collate "C"    not null primary key,
    owner       text collate "C"    not null,
    agent       text collate "C"    not null,
    session     text collate "C"    not null,  -- may be gone: a session that ended leaves its runs
    session_key text collate "C"    not null,
    thread      text collate "C"    not null references threads (id),
    client_key  text collate "C",
    priority    integer not null,
    method      text    not null,
    digest      text collate "C"    not null,
    status      text    not null check (status in ('queued', 'running', 'parked', 'finished')),
    detail      text    not null,  -- the whole status
    fence       bigint  not null default 0,
    head        bigint  not null default 0,  -- the last position of its log
    ready_at    bigint  not null,  -- since when it waits for a worker; orders the queue
    due_at      bigint  not null,  -- running: the end of the lease; parked: the wake-up
    worker      text collate "C",
    accepted_at bigint  not null,
    started_at  bigint,
    finished_at bigint
) with (fillfactor = 70);

create unique index runs_by_name on runs (owner, client_key) where client_key is not null;
create index runs_newest on runs (owner, id);
create index runs_by_thread on runs (thread);
create index runs_queue on runs (priority desc, ready_at, id) where status = 'queued';
create index runs_waiting on runs (session) where status = 'queued';
create index runs_due on runs (due_at) where status in ('running', 'parked');
-- One active run per session (invariant 5).
create unique index runs_seat on runs (session) where status in ('running', 'parked');

-- Keys of messages that went to a run that waited for the owner's words.
create table run_aliases (
    owner  text collate "C" not null,
    name   text collate "C" not null,
    run    text collate "C" not null references runs (id) on delete cascade,
    method text not null,
    digest text collate "C" not null,
    primary key (owner, name)
);

create index run_aliases_by_run on run_aliases (run);

create table entries (
    run   text collate "C"   not null references runs (id) on delete cascade,
    seq   bigint not null check (seq >= 1),
    owner text collate "C"   not null,
    at    bigint not null,
    kind  text   not null,
    body  text   not null,
    primary key (run, seq)
);

create table signals (
    n     bigint not null generated always as identity primary key,
    run   text collate "C"   not null references runs (id) on delete cascade,
    owner text collate "C"   not null,
    kind  text   not null,
    about text,                       -- the approval or the message, to find it when its entry is written
    body  text   not null,
    told  bigint not null default 0,  -- the fence of the claim that heard it
    at    bigint not null
);

create index signals_by_run on signals (run, n);

create table agents (
    owner    text collate "C"   not null,
    name     text collate "C"   not null,
    revision bigint not null,
    body     text   not null,
    primary key (owner, name)
);

create table approvals (
    id         text collate "C"   not null primary key,
    owner      text collate "C"   not null,
    run        text collate "C"   not null references runs (id) on delete cascade,
    state      text   not null check (state in ('open', 'allowed', 'denied', 'expired', 'cancelled')),
    expires_at bigint not null,
    body       text   not null,  -- the question as it was asked
    choice     text,
    by         text
);

create index approvals_by_owner on approvals (owner, id);
create index approvals_by_run on approvals (run);

create table grants (
    id    text collate "C" not null primary key,
    owner text collate "C" not null,
    agent text collate "C" not null,
    body  text not null
);

create index grants_by_owner on grants (owner, id);

-- One row per model call: open while the call is under way, settled after. The lines of a run stand side by side.
create table ledger (
    run         text collate "C"    not null,
    reservation text collate "C"    not null,
    owner       text collate "C"    not null,
    run_name    text collate "C"    not null,
    session     text collate "C"    not null,
    session_key text collate "C"    not null,
    agent       text collate "C"    not null,
    day         text collate "C"    not null,
    route       text collate "C"    not null,
    reserved    bigint  not null check (reserved >= 0),
    settled     boolean not null,
    cost        bigint,                       -- null: no price is known, or not settled
    input       bigint  not null default 0,
    output      bigint  not null default 0,
    cache_read  bigint  not null default 0,
    cache_write bigint  not null default 0,
    estimated   boolean not null default false,
    at          bigint  not null,
    primary key (run, reservation)
);

create index ledger_by_day on ledger (owner, day);

-- Sums over the ledger, kept in the same transactions; `verify` adds up and compares.
create table spend (
    owner       text collate "C"    not null,
    scope       text    not null check (scope in ('session', 'day')),
    key         text collate "C"    not null,
    used        bigint  not null default 0,
    reserved    bigint  not null default 0 check (reserved >= 0),
    calls       bigint  not null default 0,
    unpriced    bigint  not null default 0,
    input       bigint  not null default 0,
    output      bigint  not null default 0,
    cache_read  bigint  not null default 0,
    cache_write bigint  not null default 0,
    estimated   boolean not null default false,
    primary key (owner, scope, key)
) with (fillfactor = 70);

create table memories (
    n          bigint   not null generated always as identity primary key,
    id         text collate "C"     not null unique,
    owner      text collate "C"     not null,
    scope      text     not null,  -- `owner`, `agent:<name>`, `session:<id>`
    key        text collate "C",
    body       text     not null,
    created_at bigint   not null,
    expires_at bigint,
    words      tsvector not null
);

create unique index memories_by_key on memories (owner, scope, key) where key is not null;
create index memories_by_age on memories (owner, created_at);
create index memories_text on memories using gin (words);

create sequence events_cursor;

create table events (
    cursor   bigint not null primary key,  -- rises through all owners, in the order of commits; may have gaps
    owner    text collate "C"   not null,
    at       bigint not null,
    run      text collate "C",
    run_name text collate "C",
    session  text collate "C",
    kind     text   not null
);

create index events_by_owner on events (owner, cursor);
create index events_by_run on events (run) where run is not null;

create table answers (
    owner  text collate "C"   not null,
    method text   not null,
    key    text collate "C"   not null,
    digest text collate "C"   not null,
    answer text   not null,
    at     bigint not null,
    primary key (owner, method, key)
);

create index answers_by_age on answers (at);

create table audit (
    seq     bigint not null primary key,
    at      bigint not null,
    owner   text collate "C"   not null,
    by      text   not null,
    action  text   not null,
    subject text collate "C"   not null,
    detail  text   not null,
    hash    text   not null
);

create index audit_by_owner on audit (owner, seq);

-- Append-only (S49): a program that forgets this is stopped by the database.
create function audit_stays() returns trigger language plpgsql as $$
begin
    raise exception 'the audit chain is append-only';
end $$;
create trigger audit_stays before update or delete on audit for each row execute function audit_stays();
create trigger audit_whole before truncate on audit for each statement execute function audit_stays();

-- The end of the chain: an owner sees only records of their own, and still has to follow the last one of all.
create table audit_end (
    id   smallint not null primary key check (id = 1),
    seq  bigint   not null,
    hash text     not null
);

insert into audit_end (id, seq, hash) values (1, 0, repeat('0', 64));

create table devices (
    owner         text collate "C"   not null,
    id            text collate "C"   not null,  -- hex SHA-256 of the key
    public_key    text   not null,
    display_name  text,
    platform      text   not null,
    device_family text,
    client_id     text   not null,
    client_mode   text   not null,
    roles         text   not null,
    scopes        text   not null,
    claims        text   not null,
    remote_ip     text,
    approved_by   text   not null,
    approved_via  text   not null check (approved_via in ('silent', 'operator', 'setup_code')),
    created_at    bigint not null,
    approved_at   bigint not null,
    last_seen_at  bigint,
    primary key (owner, id)
);

create table device_tokens (
    owner        text collate "C"   not null,
    device       text collate "C"   not null,
    role         text   not null check (role in ('operator', 'node')),
    via          text   not null check (via in ('silent', 'operator', 'setup_code')),
    scopes       text   not null,
    salt         text   not null,
    digest       text collate "C"   not null,
    created_at   bigint not null,
    rotated_at   bigint,
    revoked_at   bigint,
    last_used_at bigint,
    primary key (owner, device, role),
    foreign key (owner, device) references devices (owner, id) on delete cascade
);

-- Requests are kept until they lapse, answered or not: they count against the bounds of their source until then.
create table pairings (
    id         text collate "C"    not null primary key,
    owner      text collate "C"    not null,
    device     text collate "C"    not null,
    source     text    not null,
    reason     text    not null,
    state      text    not null check (state in ('open', 'approved', 'rejected', 'superseded', 'spent')),
    tries      integer not null default 0,
    ask        text    not null,
    created_at bigint  not null,
    expires_at bigint  not null
);

create index pairings_by_owner on pairings (owner, expires_at);

create table setup_codes (
    owner      text collate "C"   not null,
    digest     text collate "C"   not null,
    roles      text   not null,
    scopes     text   not null,
    made_by    text   not null,
    expires_at bigint not null,
    primary key (owner, digest)
);

create table node_invokes (
    id          text collate "C"   not null primary key,
    owner       text collate "C"   not null,
    node        text collate "C"   not null,  -- the device
    command     text   not null,
    params      text,             -- JSON text, as the node gets it
    key         text collate "C"   not null,
    digest      text collate "C"   not null,  -- of node, command and parameters as the caller sent them
    asked_by    text   not null,
    created_at  bigint not null,
    deadline_at bigint not null,
    answered_at bigint,
    answer      text              -- JSON; null: none yet
);

create unique index node_invokes_by_key on node_invokes (owner, key);
create index node_invokes_by_node on node_invokes (owner, node, id);
create index node_invokes_by_age on node_invokes (owner, created_at);

-- What an owner lets others read. `agent` narrows it to one agent's, `subject` to one row; `grantee` is another owner,
-- `grantee_agent` one agent of theirs, for programs that read on its behalf.
create table shares (
    id            text collate "C"   not null primary key,
    owner         text collate "C"   not null,
    kind          text   not null check (kind in ('thread', 'memory')),
    agent         text collate "C",
    subject       text collate "C",
    grantee       text collate "C"   not null,
    grantee_agent text collate "C",
    created_at    bigint not null,
    expires_at    bigint
);

create index shares_by_grantee on shares (grantee, owner, kind);
create index shares_by_owner on shares (owner, id);

-- Of the installation, not of an owner.

create table tools (
    name text collate "C" not null primary key,
    body text not null
);

create table buckets (
    name  text collate "C"   not null primary key,
    level bigint not null,  -- in 1/60,000 of a token: what one token per minute gains in a millisecond
    at    bigint not null
);

create table workers (
    id      text collate "C"   not null primary key,
    seen_at bigint not null,
    body    text   not null
);

create table migrations (
    number   integer not null primary key,
    name     text collate "C"    not null,
    checksum text    not null
);

-- Rights and policies. Nobody but the roles named here gets anything, and the owner of the tables is bound as well.

do $$
declare
    it text;
begin
    for it in select tablename from pg_tables where schemaname = 'adjutant' loop
        execute format('alter table %I enable row level security', it);
        execute format('alter table %I force row level security', it);
        execute format('revoke all on %I from public', it);
        execute format('grant select on %I to adjutant_auditor', it);
        execute format('create policy auditor on %I for select to adjutant_auditor using (true)', it);
    end loop;
    foreach it in array array[
        'threads', 'messages', 'sessions', 'runs', 'run_aliases', 'entries', 'signals', 'agents', 'approvals', 'grants',
        'ledger', 'spend', 'memories', 'events', 'answers', 'devices', 'device_tokens', 'pairings', 'setup_codes',
        'node_invokes', 'shares'] loop
        execute format('grant select, insert, update, delete on %I to adjutant_app', it);
        execute format(
            'create policy own on %I to adjutant_app using (owner = (select me())) with check (owner = (select me()))', it);
    end loop;
end $$;

revoke all on sequence events_cursor from public;
grant usage on sequence events_cursor to adjutant_app;

-- The audit chain grows and does nothing else.
grant select, insert on audit to adjutant_app;
create policy own on audit for select to adjutant_app using (owner = (select me()));
create policy add_own on audit for insert to adjutant_app with check (owner = (select me()));
grant select, update on audit_end to adjutant_app;
create policy follow on audit_end to adjutant_app using (true) with check (id = 1);

-- The queue: which run is next, whose it is, how long. Never what was said, but for signals to a run that is held.
grant select on runs, sessions, signals, events to adjutant_worker;
grant update (status, detail, fence, head, worker, due_at, started_at) on runs to adjutant_worker;
grant update (expires_at) on sessions to adjutant_worker;  -- the right to lock a seat; the policy lets no row through
grant update (told) on signals to adjutant_worker;
create policy queue on runs for select to adjutant_worker using (true);
create policy take on runs for update to adjutant_worker using (status <> 'finished') with check (status = 'running');
create policy queue on sessions for select to adjutant_worker using (true);
create policy lock on sessions for update to adjutant_worker using (true) with check (false);
create policy queue on signals for select to adjutant_worker using (true);
create policy hear on signals for update to adjutant_worker using (true) with check (true);
create policy feed on events for select to adjutant_worker using (true);

-- Housekeeping: what has outlived its time.
grant select (owner, method, key, at), delete on answers to adjutant_worker;
grant delete on events to adjutant_worker;
create policy see on answers for select to adjutant_worker using (true);
create policy outlived on answers for delete to adjutant_worker using (true);
create policy outlived on events for delete to adjutant_worker using (true);

-- Of the installation.
grant select, insert, delete on tools to adjutant_worker;
create policy installation on tools to adjutant_worker using (true) with check (true);
grant select, insert, update, delete on buckets, workers to adjutant_worker;
create policy installation on buckets to adjutant_worker using (true) with check (true);
create policy installation on workers to adjutant_worker using (true) with check (true);
grant select on migrations to adjutant_app, adjutant_worker;
create policy migrator on migrations to current_user using (true) with check (true);
create policy version on migrations for select to adjutant_app, adjutant_worker using (true);

-- Clients with a token of the platform: their own, and what is shared with them. They write nothing.
grant select on threads, messages, sessions, runs, approvals, memories, events, shares to adjutant_reader;
create policy share_parties on shares for select to adjutant_reader
    using (owner = (select me()) or grantee = (select me()));
create policy reads_own on threads for select to adjutant_reader using (owner = (select me()));
create policy reads_own on messages for select to adjutant_reader using (owner = (select me()));
create policy reads_own on sessions for select to adjutant_reader using (owner = (select me()));
create policy reads_own on runs for select to adjutant_reader using (owner = (select me()));
create policy reads_own on approvals for select to adjutant_reader using (owner = (select me()));
create policy reads_own on memories for select to adjutant_reader using (owner = (select me()));
create policy reads_own on events for select to adjutant_reader using (owner = (select me()));
create policy shared on threads for select to adjutant_reader using (exists (
    select 1 from shares s
     where s.owner = threads.owner
       and s.grantee = (select me())
       and s.kind = 'thread'
       and (s.subject is null or s.subject = threads.id)
       and (s.agent is null or s.agent = threads.agent)
       and (s.expires_at is null or s.expires_at > clock_ms())));
create policy shared on messages for select to adjutant_reader using (exists (
    select 1 from shares s join threads t on t.id = messages.thread
     where s.owner = messages.owner
       and s.grantee = (select me())
       and s.kind = 'thread'
       and (s.subject is null or s.subject = messages.thread)
       and (s.agent is null or s.agent = t.agent)
       and (s.expires_at is null or s.expires_at > clock_ms())));
create policy shared on memories for select to adjutant_reader using (exists (
    select 1 from shares s
     where s.owner = memories.owner
       and s.grantee = (select me())
       and s.kind = 'memory'
       and (s.subject is null or s.subject = memories.id)
       and (s.agent is null and memories.scope = 'owner' or memories.scope = 'agent:' || s.agent)
       and (s.expires_at is null or s.expires_at > clock_ms())));
