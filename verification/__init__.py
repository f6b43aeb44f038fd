"""Verifies the output of a pipeline, running or stopped, against its topics.

It is independent of the code under test: it imports no service, and not the contract's validation, money or codec. The rules
for orders, dead letters and metrics are implemented a second time from the design, with the standard library. Only when a window
closes is not computed again: it is taken from the watermarks that the pipeline has written.
"""
