"""Procedural landmarks: photo collections of buildings that never stood, with everything known about them."""
