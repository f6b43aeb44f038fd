"""aiokafka's clients with the settings that the guarantees need, and with workarounds for what they cannot do.

Examples are header keys that are not UTF-8, and brokers whose addresses have all changed.
"""
