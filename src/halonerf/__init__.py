"""HaloNeRF: type a word, see where it is on the building."""

__version__ = "0.1.0"
