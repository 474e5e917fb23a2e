"""A procedural world: pictures of nested, occluding, textured objects with exact masks. SA-1B in miniature.

    from minisam.world import DOMAINS, render
    scene = render(seed=0, size=320)               # or domain="street", or domain=[name for name in DOMAINS if …]
    scene.image                    # uint8 (320, 320, 3)
    scene.masks[0].segmentation    # bool (320, 320), .level "whole" | "part" | "subpart", .parent, .name
    scene.domain, scene.caption    # "street", "A photo of a street: two cars and a person, with the road in view."

Files, in the order in which a picture comes about:
    exact        compiled loops and roundings that give the same bits on every machine
    rng         chance
    tiles        natural noise
    shapes       outlines                           materials, surfaces   what things are made of
    objects      trees of shapes                    living, bodies, made, goods, dishes, traffic, crowds   things
    raster       outlines to pixels, blur           paint        surfaces to colours
    painter      trees to pictures and masks        backgrounds, stage    walls, skies, grounds; placing things
    everyday, rooms, paper, streets, nature, above, heaps, microscope   the 23 domains; ``domains`` is their list
    lens, camera light, lens, sensor, file          captions     words
    scene        ``render``                         nested       points with several right answers
"""

from minisam.world.domains.catalogue import DOMAINS
from minisam.world.scene import HELD_OUT, Scene, SceneMask, render

__all__ = ["DOMAINS", "HELD_OUT", "Scene", "SceneMask", "render"]
