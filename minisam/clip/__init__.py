"""CLIP: images and texts in one space."""
