"""A TCP proxy between the clients and a broker that delays, loses and repeats Kafka requests.

``wire`` parses requests, ``transactions`` tells which transaction a request belongs to, ``faults`` decides what happens to
it; none of them does any I/O. ``proxy`` does it.
"""
