"""The pipeline's live page: the facts of the terminal view in a browser, and the lag as the broker sees it for Prometheus.

It only looks: it makes no topic and joins no group, so that it changes nothing, and tells the lag of what has died.
"""
