"""Weights from files: official, safetensors and Hugging Face, read without running anything in them."""
