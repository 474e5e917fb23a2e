"""The mask decoder for speed: the same function as ``minisam.model.mask_decoder``, its terms in another order."""
