"""The 23 kinds of scene; ``catalogue`` lists them."""
