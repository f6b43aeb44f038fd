-- As a person reads it: times in UTC as text, amounts in dollars. Add up the cents of the table, not these.
create view product_metrics_dollars as
select
    strftime('%Y-%m-%dT%H:%M:%SZ', window_start, 'unixepoch') as window_start,
    strftime('%Y-%m-%dT%H:%M:%SZ', window_end, 'unixepoch')   as window_end,
    product_id,
    order_count,
    total_revenue_cents / 100.0                               as total_revenue,
    avg_order_value_cents / 100.0                             as avg_order_value
from product_metrics;

-- The questions that people ask first. Each amount is added up in cents before it becomes dollars. Hours and days: UTC.
create view revenue_per_product_per_hour as
select
    strftime('%Y-%m-%dT%H:00:00Z', window_start, 'unixepoch')            as hour,
    product_id,
    sum(order_count)                                                     as order_count,
    sum(total_revenue_cents) / 100.0                                     as total_revenue,
    round(sum(total_revenue_cents) / 100.0 / sum(order_count), 2)        as avg_order_value
from product_metrics
group by 1, 2;

create view revenue_per_product_per_day as
select
    date(window_start, 'unixepoch')                                      as day,
    product_id,
    sum(order_count)                                                     as order_count,
    sum(total_revenue_cents) / 100.0                                     as total_revenue,
    round(sum(total_revenue_cents) / 100.0 / sum(order_count), 2)        as avg_order_value
from product_metrics
group by 1, 2;

-- The minutes in which all products together brought in most; rank 1 is the best one.
create view best_minutes as
select
    rank() over (order by sum(total_revenue_cents) desc)                 as rank,
    strftime('%Y-%m-%dT%H:%M:00Z', window_start, 'unixepoch')            as minute,
    sum(order_count)                                                     as order_count,
    sum(total_revenue_cents) / 100.0                                     as total_revenue
from product_metrics
group by 2;

create view revenue_share as
select
    product_id,
    sum(total_revenue_cents) / 100.0                                     as total_revenue,
    round(100.0 * sum(total_revenue_cents) / nullif(sum(sum(total_revenue_cents)) over (), 0), 2) as percent
from product_metrics
group by product_id;

-- For each product the windows in which it sold nothing, from the first window of all products to the last.
create view windows_without_sale as
with recursive
    span as (
        select window_end - window_start as length, min(window_start) as first, max(window_start) as last
        from product_metrics
        group by 1
    ),
    windows(starts, length, last) as (
        select first, length, last from span
        union all
        select starts + length, length, last from windows where starts + length <= last
    ),
    products as (select distinct product_id from product_metrics),
    missing as (
        select product_id, starts as window_start, starts + length as window_end from products cross join windows
        except
        select product_id, window_start, window_end from product_metrics
    )
select
    product_id,
    strftime('%Y-%m-%dT%H:%M:%SZ', window_start, 'unixepoch') as window_start,
    strftime('%Y-%m-%dT%H:%M:%SZ', window_end, 'unixepoch')   as window_end
from missing;
