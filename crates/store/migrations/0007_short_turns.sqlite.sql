-- A turn touches fewer pages again: indexes whose entries move with every message stand still, and ledger lines lie in order.

-- Threads are listed by last use. The index holds the hour of it, so that a thread in use moves once an hour; whoever lists
-- threads sorts the last hours of what it shows. Kept by the database: whatever writes `updated_at` need not know.
drop index threads_by_use;
alter table threads add column hour integer not null default 0;  -- of `updated_at`, since the Unix epoch
update threads set hour = updated_at / 3600000;
create index threads_by_hour on threads (owner, hour);

create trigger threads_begin after insert on threads
begin
    update threads set hour = new.updated_at / 3600000 where id = new.id;
end;

create trigger threads_move after update of updated_at on threads
when new.updated_at / 3600000 <> old.updated_at / 3600000
begin
    update threads set hour = new.updated_at / 3600000 where id = new.id;
end;

-- A message that waits for its run stands where its place will be, behind the placed ones, and not in front of them.
drop index messages_by_place;
create unique index messages_by_place on messages (thread, coalesce(seq, 4611686018427387904 + n));

-- Lines lie in the order in which their runs were born, those of one run side by side. Runs may go; their lines stay.
create table ledger_in_order (
    place       integer not null primary key,  -- the millisecond in the run's identifier × 2^15 + a number from 1
    reservation text    not null,
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
) strict;

-- The first ten letters of an identifier, after its prefix, are its millisecond in base 32.
with recursive
    digits (run, n, ms) as (
        select distinct run, 0, 0 from ledger
        union all
        select run, n + 1, ms * 32 + instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(run, 5 + n, 1)) - 1
          from digits
         where n < 10
    ),
    born (run, ms) as (select run, ms from digits where n = 10)
insert into ledger_in_order
select b.ms * 32768 + row_number() over (partition by b.ms order by l.run, l.reservation) as place,
       l.reservation, l.owner, l.run, l.run_name, l.session, l.session_key, l.agent, l.day, l.route, l.reserved, l.settled,
       l.cost, l.input, l.output, l.cache_read, l.cache_write, l.estimated, l.at
  from ledger l join born b on b.run = l.run
 order by place;
drop table ledger;
alter table ledger_in_order rename to ledger;

-- Where the lines of a day are, in its sums, which every line changes anyway. Null: anywhere.
alter table spend add column first integer;
alter table spend add column last integer;
update spend
   set first = (select min(l.place) from ledger l where l.owner = spend.owner and l.day = spend.key),
       last  = (select max(l.place) from ledger l where l.owner = spend.owner and l.day = spend.key)
 where scope = 'day';
