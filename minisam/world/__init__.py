"""A procedural world: pictures of nested, occluding, textured objects with exact masks. SA-1B in miniature.

    from minisam.world import render
    scene = render(seed=0, size=256)
    scene.image                    # uint8 (256, 256, 3)
    scene.masks[0].segmentation    # bool (256, 256), .level "whole" | "part" | "subpart", .parent, .name

Files, in the order in which a picture comes about: ``dice`` (chance), ``shapes`` (outlines), ``materials`` (surfaces),
``objects`` (trees of shapes), ``raster`` (outlines to pixels), ``paint`` (surfaces to colours), ``camera``, ``scene``.
"""

from .scene import Scene, SceneMask, render

__all__ = ["Scene", "SceneMask", "render"]
