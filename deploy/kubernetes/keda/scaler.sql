-- A login that may count runs by their status and see nothing else of them. Run it as the owner of the schema.
create role adjutant_scaler login noinherit connection limit 4 password 'choose one';
grant usage on schema adjutant to adjutant_scaler;
grant select (status) on adjutant.runs to adjutant_scaler;
create policy scaler on adjutant.runs for select to adjutant_scaler using (true);
