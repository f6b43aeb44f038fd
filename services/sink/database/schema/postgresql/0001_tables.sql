-- What each product sold in each window, exact to the cent.
create table product_metrics (
    window_start    timestamptz    not null,
    window_end      timestamptz    not null,
    product_id      text           not null,
    order_count     bigint         not null,
    total_revenue   numeric(18, 2) not null,
    avg_order_value numeric(18, 2) not null,
    primary key (window_start, product_id, window_end)
);

-- Who writes, one row. cluster_id and topic say whose metrics these are; they are null in an empty database. Only the
-- transaction that finds its own epoch here may write; alive_at says when its owner did so last.
create table sink_owner (
    only_row   boolean     primary key default true check (only_row),
    cluster_id text,
    topic      text,
    epoch      bigint      not null default 0,
    owner      text        not null default '',
    alive_at   timestamptz not null default '-infinity'
);
insert into sink_owner default values;

-- Where each partition of the topic goes on. crc32_before is a checksum of the record before, by which it is recognised.
create table sink_progress (
    partition    integer primary key,
    next_offset  bigint  not null,
    crc32_before bigint  not null
);
