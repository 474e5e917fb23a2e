"""What training and evaluation measure: focal and dice loss, IoU, stability."""
