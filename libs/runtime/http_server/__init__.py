"""The HTTP server of the services (health and metrics) and of the live page: aiohttp, with limits and a check of the Host."""
