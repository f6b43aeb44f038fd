"""Tests of ACLs: with the declared rights everything works, and without any one of them a program ends with an error that names it."""
