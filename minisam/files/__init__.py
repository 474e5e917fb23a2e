"""Files that people give and get: images, mosaics of images, and outputs that are whole or not there."""
