"""Earful beside its peers, in one run on one machine. Nothing here is a test: figures are read by people."""
