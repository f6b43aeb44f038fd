"""Tests of the sink with real databases."""
