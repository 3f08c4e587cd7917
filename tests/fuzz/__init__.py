"""Readers of files that people give, tried on damaged files: only the errors that they document may come out."""
