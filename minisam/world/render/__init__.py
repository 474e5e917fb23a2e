"""From outlines and materials to pixels and masks."""
