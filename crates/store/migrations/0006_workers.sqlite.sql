-- What a worker is asked to do, and whom a run that was given up is meant for.
alter table workers add column orders text not null default '"working"';

alter table runs add column meant_for text;  -- parked: this worker need not wait for `due_at`
create index runs_meant on runs (meant_for) where meant_for is not null;
