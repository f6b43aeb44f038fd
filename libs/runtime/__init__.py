"""The runtime that the services share. It does not depend on the events.

- ``api``: the public interface, of which docs/runtime.md is the reference
- ``life_cycle``: start, end and exit code of every service
- ``service``, ``logs``: its settings, health, signals and logs
- ``exactly_once``: the engine of a stage, which reads one topic exactly once
- ``transactions``: its transactions
- ``topics``, ``metrics``
- ``kafka_client``, ``kafka_requests``, ``kafka_security``: aiokafka, and the features that it lacks
"""
