"""From low-resolution logits to pixels, boxes and run lengths, and the choice between masks."""
