-- A window's length in seconds, not in days: a day of the session's time zone may have 23 or 25 hours.
create or replace view windows_without_sale as
with
    span as (
        select
            make_interval(secs => extract(epoch from window_end - window_start)::double precision) as length,
            min(window_start) as first,
            max(window_start) as last
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
