"""The pipeline's live page: the data of the terminal view in a browser, and consumer lag for Prometheus.

It is read-only: it creates no topic and joins no group. It reads the lag from the broker, so that it also reports the lag of
consumers that are down.
"""
