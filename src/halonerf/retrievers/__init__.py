"""Retrievers: photos and texts as unit vectors whose cosine says how well they go together."""
