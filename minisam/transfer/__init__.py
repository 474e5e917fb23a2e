"""Zero-shot transfer: how good a model is on pictures that it has not been trained on."""
