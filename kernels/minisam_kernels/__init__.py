"""The operations of Segment Anything, one a file: an equation, a NumPy version to read, compiled loops that are fast.

The legend of shapes, used in the whole code base. Arrays are channels-last, ``(B, H, W, C)``.

======== =====================================================================
B        batch: pictures, or prompts of one picture
H, W     height and width, in pixels or in tokens
C        channels, the width of a token (``embed_dim``)
N        number of image tokens, H · W
heads    attention heads
D        width of one head, C / heads
T        prompt tokens: IoU token, mask tokens, points and box corners
P        points of a prompt
M        masks
======== =====================================================================

Coordinates are (x, y) in pixels unless a name says (row, column) or [0, 1]; the centre of the first pixel is at
(0.5, 0.5). An operation takes any real dtype and any memory layout and returns new C-contiguous float32 arrays, unless
it says otherwise (those on masks take booleans and return pixels, boxes or counts); weights have the layout of the
official checkpoints. Bad input raises ``InputError``.
"""

from minisam_kernels.runtime.errors import InputError

__all__ = ["InputError"]
