"""Tests of the recipes for reading the metrics with other tools."""
