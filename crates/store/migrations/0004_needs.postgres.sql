-- What a worker must offer to take a run: a list in JSON; null: nothing.
alter table runs add column needs text;
create index runs_needy on runs (session) where needs is not null and status = 'queued';
