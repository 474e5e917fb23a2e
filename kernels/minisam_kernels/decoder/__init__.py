"""What only the fused decoder uses (``minisam.fused``): the steps of the mask decoder in another order."""
