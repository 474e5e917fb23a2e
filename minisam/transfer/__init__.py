"""Zero-shot transfer: how good is a model on images that it has not been trained on?"""
