"""SAM asked in words: ``TextPredictor`` finds one mask, ``every_instance`` all of them."""
