"""Earful: hear your customers. The language that training and serving share; importing it loads no model library."""

from importlib.metadata import version

__version__ = version("earful")
