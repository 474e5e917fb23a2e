"""Masks of everything in an image: a grid of points, crops, filters, and what became of each candidate."""
