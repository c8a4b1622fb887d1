"""Fewer Bits: every quantization method of the book, written once."""

__version__ = "0.1.0"
