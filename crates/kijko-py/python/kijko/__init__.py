"""Kijko in process."""

from kijko._kijko import __version__

__all__ = ["__version__"]
