"""A TCP proxy between the clients and a broker that delays, loses and repeats Kafka requests.

``wire_format`` parses requests, ``transactions`` determines the transaction of a request, ``faults`` decides what happens to
it; none of them does any I/O. ``proxy`` does it.
"""
