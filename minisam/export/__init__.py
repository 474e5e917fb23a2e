"""The model for other runtimes."""
