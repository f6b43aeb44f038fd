"""The code that the services share: the event contract and the runtime."""
