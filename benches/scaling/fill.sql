-- Fills the tables that a claim, an intake and the feed look at. Run as a superuser on a database with our schema.
--   psql -v owners=1000 -v queued=10000 -v finished=10000 -v events=10000 -v parked=0 -v blocked=0 -v stale=false -f fill.sql
-- One queued run a session, as when every conversation asks once; the owners take turns.
-- `parked` runs wait for an answer until long from now, in sessions of their own.
-- `stale` (true, false): the statistics are of the moment before they came.
-- `blocked` of the queued runs come first in the line and stand behind a parked run of their session.
set search_path to adjutant;
set synchronous_commit to off;

truncate runs, entries, events, signals, messages, sessions, threads, run_aliases, approvals, ledger, spend;

insert into threads (id, owner, agent, created_at, updated_at)
select 'thr_' || lpad(i::text, 26, '0'), 'owner' || i % :owners, 'main', 0, 0
  from generate_series(1, greatest(:queued, 10000) + :parked + :blocked) i;

insert into sessions (id, owner, key, agent, thread, created_at)
select 'ses_' || lpad(i::text, 26, '0'), 'owner' || i % :owners, 'agent:main:s' || i, 'main',
       'thr_' || lpad(i::text, 26, '0'), 0
  from generate_series(1, greatest(:queued, 10000) + :parked + :blocked) i;

insert into runs (id, owner, agent, session, session_key, thread, priority, method, digest, status, detail, fence, head,
                  ready_at, due_at, accepted_at, started_at, finished_at)
select 'run_F' || lpad(i::text, 25, '0'), 'owner' || i % :owners, 'main', 'ses_' || lpad(n::text, 26, '0'),
       'agent:main:s' || n, 'thr_' || lpad(n::text, 26, '0'), 0, 'chat.send', repeat('0', 64), 'finished',
       '{"status":"finished","outcome":{"kind":"done"}}', 1, 6, i, i, i, i, i
  from (select i, 1 + i % greatest(:queued, 10000) as n from generate_series(1, :finished) i) it;

insert into runs (id, owner, agent, session, session_key, thread, priority, method, digest, status, detail, head, ready_at,
                  due_at, accepted_at)
select 'run_Q' || lpad(i::text, 25, '0'), 'owner' || i % :owners, 'main', 'ses_' || lpad(i::text, 26, '0'),
       'agent:main:s' || i, 'thr_' || lpad(i::text, 26, '0'), 0, 'chat.send', repeat('0', 64), 'queued',
       '{"status":"queued"}', 1, i, i, i
  from generate_series(1, :queued) i;

\if :stale
vacuum analyze;
\endif

insert into runs (id, owner, agent, session, session_key, thread, priority, method, digest, status, detail, fence, head,
                  ready_at, due_at, accepted_at, started_at)
select 'run_P' || lpad(i::text, 25, '0'), 'owner' || i % :owners, 'main', 'ses_' || lpad(n::text, 26, '0'),
       'agent:main:s' || n, 'thr_' || lpad(n::text, 26, '0'), 0, 'chat.send', repeat('0', 64), 'parked',
       '{"status":"parked"}', 1, 5, i, 4102444800000, i, i
  from (select i, greatest(:queued, 10000) + i as n from generate_series(1, :parked + :blocked) i) it;

insert into runs (id, owner, agent, session, session_key, thread, priority, method, digest, status, detail, head, ready_at,
                  due_at, accepted_at)
select 'run_B' || lpad(i::text, 25, '0'), 'owner' || i % :owners, 'main', 'ses_' || lpad(n::text, 26, '0'),
       'agent:main:s' || n, 'thr_' || lpad(n::text, 26, '0'), 0, 'chat.send', repeat('0', 64), 'queued',
       '{"status":"queued"}', 1, 0, 0, i
  from (select i, greatest(:queued, 10000) + :parked + i as n from generate_series(1, :blocked) i) it;

insert into events (cursor, owner, at, run, run_name, session, kind)
select nextval('events_cursor'), 'owner' || i % :owners, i, 'run_F' || lpad(i::text, 25, '0'), 'n' || i, 'agent:main:s' || i,
       '{"type":"run_finished"}'
  from generate_series(1, :events) i;

reset synchronous_commit;
\if :stale
\else
vacuum analyze;
\endif
checkpoint;
