-- What a worker must offer to take a run: a list in JSON; null: nothing.
alter table runs add column needs text;
create index runs_needy on runs (status, session) where needs is not null;

-- Holds all that the search for the next run reads.
drop index runs_queue;
create index runs_queue on runs (priority desc, ready_at, id, owner, session, needs) where status = 'queued';
