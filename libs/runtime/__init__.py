"""The runtime that the services share. It knows no event.

- ``service``: what every service is made of
- ``exactly_once``: the engine of a stage that reads one topic exactly once
- ``transactions``: its transactions
- ``topics``, ``metrics``
- ``kafka_client``, ``kafka_requests``, ``kafka_security``: aiokafka, and what it lacks
"""
