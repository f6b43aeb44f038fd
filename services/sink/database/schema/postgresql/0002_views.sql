-- The questions that people ask first. Hours and days are those of UTC, whatever the session's time zone.
create view revenue_per_product_per_hour as
select
    date_trunc('hour', window_start, 'UTC')           as hour,
    product_id,
    sum(order_count)::bigint                          as order_count,
    sum(total_revenue)                                as total_revenue,
    round(sum(total_revenue) / sum(order_count), 2)   as avg_order_value
from product_metrics
group by 1, 2;

create view revenue_per_product_per_day as
select
    (window_start at time zone 'UTC')::date           as day,
    product_id,
    sum(order_count)::bigint                          as order_count,
    sum(total_revenue)                                as total_revenue,
    round(sum(total_revenue) / sum(order_count), 2)   as avg_order_value
from product_metrics
group by 1, 2;

-- The minutes in which all products together brought in most; rank 1 is the best one.
create view best_minutes as
select
    rank() over (order by sum(total_revenue) desc)    as rank,
    date_trunc('minute', window_start)                as minute,
    sum(order_count)::bigint                          as order_count,
    sum(total_revenue)                                as total_revenue
from product_metrics
group by 2;

create view revenue_share as
select
    product_id,
    sum(total_revenue)                                                              as total_revenue,
    round(100 * sum(total_revenue) / nullif(sum(sum(total_revenue)) over (), 0), 2) as percent
from product_metrics
group by product_id;

-- For each product the windows in which it sold nothing, from the first window of all products to the last.
create view windows_without_sale as
with
    span as (
        select window_end - window_start as length, min(window_start) as first, max(window_start) as last
        from product_metrics
        group by 1
    ),
    windows as (
        select start as window_start, start + length as window_end
        from span, generate_series(first, last, length) as start
    ),
    products as (select distinct product_id from product_metrics)
select product_id, window_start, window_end from products cross join windows
except
select product_id, window_start, window_end from product_metrics;
