"""The mask decoder for speed: the same function as ``minisam.model.mask_decoder``, its terms in another order.

Read ``decoder`` first, whose text has the algebra; then ``terms``, what is known before a prompt comes; then
``prompts``, what prompts add. The kernels of ``minisam_kernels.decoder`` do the work per pixel. ``tests/fused``
compares with the plain decoder for every kind of prompt, and a prompt's bits in any batch and with any number of
threads with those it has alone.
"""
