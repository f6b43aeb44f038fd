-- Run once by psql, when the database's volume is empty: creates a role for the sink, which creates its own tables, and one for
-- readers. Their passwords are files; `passwords` is the folder, if it differs from the container's.
\if :{?passwords}
\else
    \set passwords /run/passwords
\endif
\set sink `cat :'passwords'/sink`
\set analyst `cat :'passwords'/analyst`

create role sink login password :'sink';
create role analyst login password :'analyst';
alter role analyst set default_transaction_read_only = on;
alter role analyst set statement_timeout = '5min';

select current_database() as name \gset
revoke all on database :"name" from public;
grant connect on database :"name" to sink, analyst;
grant usage, create on schema public to sink;
grant usage on schema public to analyst;
-- For all tables and views that the sink creates.
alter default privileges for role sink in schema public grant select on tables to analyst;
