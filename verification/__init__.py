"""Proves a pipeline, running or at rest, against its topics.

It is computed apart from the code under test: nothing here imports a service or the contract's validation, money or
codec. What an order, a dead letter and a metric have to be is read afresh from the design, on the standard library.
"""
