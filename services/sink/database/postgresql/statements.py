"""The SQL of ``PostgresqlSession``, and the parameters of its inserts."""

from collections.abc import Sequence

import orjson

from libs.events.product_metrics import MetricRow

TAKE_OVER = """
update sink_owner set epoch = epoch + 1, owner = %(owner)s, alive_at = clock_timestamp()
where owner = %(owner)s or alive_at not between clock_timestamp() - make_interval(secs => %(lease_s)s)
    and clock_timestamp() + make_interval(secs => %(lease_s)s)
returning epoch
"""
STAY_OWNER = "update sink_owner set alive_at = clock_timestamp() where epoch = %s"
MOVE = """
update sink_progress as progress set next_offset = move.after, crc32_before = move.crc32
from unnest(%s::integer[], %s::bigint[], %s::bigint[], %s::bigint[]) as move (partition, before, after, crc32)
where progress.partition = move.partition and progress.next_offset = move.before
"""
BEGIN_PARTITION = """
insert into sink_progress (partition, next_offset, crc32_before)
select * from unnest(%s::integer[], %s::bigint[], %s::bigint[]) on conflict do nothing
"""
INSERT = """
insert into product_metrics
select to_timestamp(window_start), to_timestamp(window_end), product_id, order_count, revenue_cents * 0.01, average_cents * 0.01
from unnest(
    %s::bigint[], %s::bigint[], array(select json_array_elements_text(%s::json)), %s::bigint[], %s::bigint[], %s::bigint[]
) as metric (window_start, window_end, product_id, order_count, revenue_cents, average_cents)
"""
INSERT_NEW = f"""{INSERT}
on conflict do nothing
returning extract(epoch from window_start)::bigint, extract(epoch from window_end)::bigint, product_id
"""
CLEAR = """
insert into sink_owner default values on conflict do nothing;
truncate product_metrics, sink_progress;
update sink_owner set cluster_id = null, topic = null, epoch = epoch + 1, owner = '', alive_at = '-infinity'
"""


def columns(rows: Sequence[MetricRow]) -> list[str]:
    """The parameters of ``INSERT``, each as the text of an array: psycopg takes four times as long to render a list."""
    texts = [orjson.dumps(column).decode() for column in zip(*rows, strict=True)]
    return [
        text if column == "product_id" else f"{{{text[1:-1]}}}"
        for column, text in zip(MetricRow._fields, texts, strict=True)
    ]
