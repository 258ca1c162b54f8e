"""Serving and scoring: a bundle behind HTTP, or over a file."""
