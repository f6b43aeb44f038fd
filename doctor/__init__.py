"""`pipeline doctor`: checks this machine and the cluster.

``machine_facts`` and ``collect_…`` collect facts; ``machine`` and ``cluster`` turn them into findings, without I/O.
"""
