"""Dashboard *Sales*: all metrics in the database. Its queries are SQL for PostgreSQL.

``$__timeFilter``, ``$__timeGroup``, ``$__timeFrom``, ``$__timeTo`` and ``$__interval`` are Grafana's macros for the time range
and the step.
"""

from monitoring.dashboards.grafana import Json, Row, dashboard

DATABASE: Json = {"type": "grafana-postgresql-datasource", "uid": "metrics-database"}

_IN_RANGE = "from product_metrics where $__timeFilter(window_start)"
_GREEN: Json = {"mode": "absolute", "steps": [{"color": "green", "value": None}]}


def _panel(
    kind: str, title: str, about: str, sql: str, options: Json, *, unit: str = "none", custom: Json | None = None
) -> Json:
    defaults: Json = {"unit": unit, "color": {"mode": "palette-classic-by-name"}, "thresholds": _GREEN}
    if custom is not None:
        defaults["custom"] = custom
    target = {
        "refId": "A",
        "datasource": DATABASE,
        "rawQuery": True,
        "rawSql": sql,
        "format": "time_series" if kind == "timeseries" else "table",
        "editorMode": "code",
    }
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": DATABASE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [target],
    }


def _number(title: str, unit: str, about: str, sql: str) -> Json:
    options: Json = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "graphMode": "none",
        "colorMode": "value",
    }
    return _panel("stat", title, about, sql, options, unit=unit)


def _per_product(title: str, unit: str, about: str, value: str) -> Json:
    sql = (
        f"select $__timeGroup(window_start, $__interval) as time, product_id as metric, {value} as value "
        f"{_IN_RANGE} group by 1, 2 order by 1, 2"
    )
    style: Json = {"drawStyle": "bars", "lineWidth": 0, "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"}}
    options: Json = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    # A bar covers at least one window.
    return _panel("timeseries", title, about, sql, options, unit=unit, custom=style) | {"interval": "1m"}


def _table(title: str, about: str, sql: str) -> Json:
    return _panel("table", title, about, sql, {"showHeader": True, "cellHeight": "sm"})


_ROWS = [
    Row(
        "",
        4,
        [
            _number(
                "Revenue", "currencyUSD", "Of the windows shown.", f"select sum(total_revenue) as revenue {_IN_RANGE}"
            ),
            _number(
                "Orders", "locale", "Of the windows shown.", f"select sum(order_count)::bigint as orders {_IN_RANGE}"
            ),
            _number(
                "Average order",
                "currencyUSD",
                "Revenue by orders, of the windows shown.",
                f"select round(sum(total_revenue) / nullif(sum(order_count), 0), 2) as average {_IN_RANGE}",
            ),
        ],
    ),
    Row(
        "",
        9,
        [
            _per_product("Revenue by product", "currencyUSD", "In each step of the plot.", "sum(total_revenue)"),
            _per_product("Orders by product", "locale", "In each step of the plot.", "sum(order_count)::bigint"),
        ],
    ),
    Row(
        "",
        9,
        [
            _table(
                "Share of revenue",
                "Of the windows shown.",
                "select product_id, sum(order_count)::bigint as orders, sum(total_revenue) as revenue, "
                "round(100 * sum(total_revenue) / nullif(sum(sum(total_revenue)) over (), 0), 2) as percent "
                f"{_IN_RANGE} group by 1 order by 3 desc",
            ),
            _table(
                "Best minutes",
                "In which all products together brought in most, of those shown.",
                "select date_trunc('minute', window_start) as minute, sum(order_count)::bigint as orders, "
                f"sum(total_revenue) as revenue {_IN_RANGE} group by 1 order by 3 desc limit 10",
            ),
            _table(
                "Days",
                "In UTC.",
                "select day, sum(order_count)::bigint as orders, sum(total_revenue) as revenue "
                "from revenue_per_product_per_day where day between $__timeFrom()::date and $__timeTo()::date "
                "group by 1 order by 1 desc",
            ),
        ],
    ),
]

SALES = dashboard(
    "pipeline-sales",
    "Sales",
    "What the products sold, from the sink's database: further back than Prometheus keeps.",
    _ROWS,
) | {"time": {"from": "now-24h", "to": "now"}, "refresh": "1m"}
