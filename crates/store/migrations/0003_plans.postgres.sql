-- What the planner needs to stay quick when there are many runs and events.
create index runs_of_owner_waiting on runs (owner, session) where status = 'queued';  -- whether a queue has room
create index events_by_age on events (at);                                            -- what has outlived its time
-- Runs change several times and then never again: their statistics age quickly.
alter table runs set (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.01, autovacuum_analyze_threshold = 1000);
