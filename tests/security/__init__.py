"""Tests of logging in to a real broker, in all supported ways and in wrong ones."""
