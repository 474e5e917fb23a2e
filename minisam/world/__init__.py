"""A procedural world: images of nested, occluding, textured objects with exact masks. SA-1B in miniature.

::

    from minisam.world import DOMAINS, render
    scene = render(seed=0, size=320)               # or domain="street", or domain=[name for name in DOMAINS if …]
    scene.image                    # uint8 (320, 320, 3)
    scene.masks[0].segmentation    # bool (320, 320), .level "whole" | "part" | "subpart", .parent, .name
    scene.domain, scene.caption    # "street", "A photo of a street: two cars and a person, with the road in view."

``render/`` paints shapes, in this order: ``exact`` (loops with the same bits on every machine), ``rng`` (chance),
``tiles`` (natural noise), ``shapes`` (outlines), ``materials`` and ``surfaces`` (what objects are made of), ``objects``
(trees of shapes), ``raster`` (outlines to pixels, blur), ``shading`` (materials to colours), ``painter`` (trees to
images and masks), ``lens``, ``camera`` (light, sensor, file).

``things/`` makes objects: ``creatures``, ``bodies``, ``dishes``, ``small_objects``, ``large_objects``, ``traffic``,
``nameless`` ones, and ``crowds`` of small ones.

``domains/`` arranges them: ``backgrounds``, the ``stage`` on which a domain puts things, and the 23 domains in
``everyday``, ``rooms``, ``documents``, ``streets``, ``nature``, ``above``, ``heaped`` and ``microscope``;
``catalogue`` is their list.

``scene`` renders; ``captions`` puts a scene into words; ``nested`` finds points with several right answers. Imports go
one way: render <- things <- domains <- scene.
"""

from minisam.world.domains.catalogue import DOMAINS
from minisam.world.scene import HELD_OUT, Scene, SceneMask, render

__all__ = ["DOMAINS", "HELD_OUT", "Scene", "SceneMask", "render"]
