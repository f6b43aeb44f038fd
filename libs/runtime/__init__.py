"""The runtime that the services share. It knows no event.

- ``api``: the public interface, of which docs/runtime.md is the reference
- ``service``: what every service is made of
- ``exactly_once``: the engine of a stage that reads one topic exactly once
- ``transactions``: its transactions
- ``topics``, ``metrics``
- ``kafka_client``, ``kafka_requests``, ``kafka_security``: aiokafka, and what it lacks
"""
