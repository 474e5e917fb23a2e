"""Attention: over all tokens, within windows, between prompt and image, and the bias of relative positions."""
