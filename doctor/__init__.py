"""`pipeline doctor`: what will not work on this machine and in the cluster, and how to mend it.

``machine_facts`` and ``cluster_facts`` look; ``machine`` and ``cluster`` judge what was seen, and do no I/O.
"""
