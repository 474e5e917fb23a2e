"""The model, to be read first: sizes, encoder, prompts, transformer, mask decoder. ``minisam.sam`` joins them."""
