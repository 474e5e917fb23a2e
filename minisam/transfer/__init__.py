"""Zero-shot transfer: how good a model is on images that it has not been trained on."""
