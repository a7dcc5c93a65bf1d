-- A list of more than two words in a check is made into a table in memory for every row that is written. The same rules,
-- as comparisons; no row changes.
pragma writable_schema = on;
update sqlite_schema
   set sql = replace(sql,
       'status in (''queued'', ''running'', ''parked'', ''finished'')',
       'status = ''queued'' or status = ''running'' or status = ''parked'' or status = ''finished''')
 where type = 'table' and name = 'runs';
update sqlite_schema
   set sql = replace(sql,
       'scope in (''run'', ''session'', ''day'')',
       'scope = ''run'' or scope = ''session'' or scope = ''day''')
 where type = 'table' and name = 'spend';
update sqlite_schema
   set sql = replace(sql,
       'state in (''open'', ''allowed'', ''denied'', ''expired'', ''cancelled'')',
       'state = ''open'' or state = ''allowed'' or state = ''denied'' or state = ''expired'' or state = ''cancelled''')
 where type = 'table' and name = 'approvals';
-- Reads the schema anew; the index says to other connections that it changed.
pragma writable_schema = reset;
drop index runs_meant;
create index runs_meant on runs (meant_for) where meant_for is not null;
