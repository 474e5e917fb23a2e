"""A procedural world: pictures of nested, occluding, textured objects with exact masks. SA-1B in miniature.

    from minisam.world import render
    scene = render(seed=0, size=256)
    scene.image                    # uint8 (256, 256, 3)
    scene.masks[0].segmentation    # bool (256, 256), .level "whole" | "part" | "subpart", .parent, .name

Files, in the order in which a picture comes about:
    exact        compiled loops and roundings that give the same bits on every machine
    dice         chance
    shapes       outlines                           materials    surfaces
    objects      trees of shapes                    living, made, goods, crowds    what there is in this world
    raster       outlines to pixels, blur           paint        surfaces to colours
    painter      trees to pictures and masks        backgrounds  walls, skies, grounds
    camera       light, lens, sensor, file          scene        layouts, and ``render``
"""

from .scene import Scene, SceneMask, render

__all__ = ["Scene", "SceneMask", "render"]
