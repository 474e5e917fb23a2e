"""The layers of the model: products, norms, convolutions, patches, positions and resizing."""
