-- What each product sold in each window, exact to the cent: times in epoch seconds, amounts in whole cents.
create table product_metrics (
    window_start          integer not null,
    window_end            integer not null,
    product_id            text    not null,
    order_count           integer not null,
    total_revenue_cents   integer not null,
    avg_order_value_cents integer not null,
    primary key (window_start, product_id, window_end)
) without rowid;

-- Who writes, one row. cluster_id and topic say whose metrics these are; they are null in an empty database. Only the
-- transaction that finds its own epoch here may write; alive_at_s says when its owner did so last, in epoch seconds.
create table sink_owner (
    only_row   integer primary key default 1 check (only_row = 1),
    cluster_id text,
    topic      text,
    epoch      integer not null default 0,
    owner      text    not null default '',
    alive_at_s real    not null default 0
);
insert into sink_owner default values;

-- Where each partition of the topic goes on. crc32_before is a checksum of the record before, by which it is recognised.
create table sink_progress (
    partition    integer primary key,
    next_offset  integer not null,
    crc32_before integer not null
);
