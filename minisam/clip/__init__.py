"""CLIP: images and texts in one space, with our small towers or with the real ones.

::

    from minisam.clip import load
    from minisam.clip.crops import crop

    clip = load()                                             # or load("clip-vit-large-patch14-336")
    one = crop(image, mask, clip.config.image_size)           # the square around an object, the rest black
    clip.embed_image(one.pixels[None])                        # (1, E), of length 1
    clip.embed_text(["a red car", "the wheel of a car"])      # (2, E), of length 1

``config`` (sizes, names and shapes of all weights), ``model`` (the towers), ``tokenisers`` (texts to numbers),
``loading`` (files), ``crops`` (what the image tower looks at), ``vocabulary`` (words that the towers do not know),
``pairs`` (crops of the world with phrases), ``retrieval`` (how well the two find each other). The small towers are
trained by ``minisam.training.contrastive``.
"""

from minisam.clip.config import ClipConfig
from minisam.clip.loading import load
from minisam.clip.model import Clip

__all__ = ["Clip", "ClipConfig", "load"]
