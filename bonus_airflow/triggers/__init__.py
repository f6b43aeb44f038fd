"""Triggers: the long waits, in the triggerer, where they hold no worker slot."""
