"""The 23 domains of the world: what is painted, with which camera it is seen, what such an image is called.

They are as many as the data sets of the paper's zero-shot study, and in their spirit: each teaches something that the
others do not, so that one can be held out to see what transfers. A model is trained on all of them in equal shares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from minisam.world.domains import above, documents, everyday, heaped, microscope, nature, rooms, streets
from minisam.world.domains.stage import Stage
from minisam.world.render.camera import Camera


@dataclass(frozen=True)
class Domain:
    """``paint`` puts a scene on a stage; ``opening`` begins its caption; ``teaches`` says what it is for."""

    paint: Callable[[Stage], None]
    opening: str
    teaches: str
    camera: Camera = field(default_factory=Camera)


_SCOPE = Camera(
    grey=0.0, noise=(0.004, 0.03), noisy=0.2, blur=0.01, gain=(0.3, 1.0), uneven=0.5, dapple=0.0, cast=0.02,
    contrast=(0.8, 1.1), lift=(-0.03, 0.03), code=0.15,
)  # fmt: skip
_SLIDE = Camera(
    grey=0.15,
    noise=(0.004, 0.02),
    noisy=0.1,
    blur=0.006,
    gain=(0.8, 1.1),
    dapple=0.0,
    cast=0.05,
    vignette=0.2,
    code=0.3,
)
_SCANNER = Camera(
    grey=0.05, noise=(0.002, 0.01), blur=0.004, gain=(0.95, 1.05), uneven=0.0, dapple=0.0, cast=0.0, vignette=0.0
)
_DIM = Camera(
    grey=0.4, noise=(0.006, 0.04), noisy=0.2, gain=(0.55, 1.2), vignette=0.7, contrast=(0.8, 1.25), dapple=0.15
)
_DIVER = Camera(
    grey=0.1, noise=(0.006, 0.04), blur=0.01, contrast=(0.6, 1.1), cast=0.12, dapple=0.25, lift=(-0.02, 0.12)
)
_SKY = Camera(grey=0.08, blur=0.005, dapple=0.0, vignette=0.15, contrast=(0.8, 1.25))
_SPACE = Camera(grey=0.5, noise=(0.004, 0.03), gain=(0.7, 1.3), dapple=0.0, contrast=(0.8, 1.3))
_HAND = Camera(noise=(0.004, 0.04), blur=0.009, uneven=0.8, vignette=0.5)
_PAINT = Camera(grey=0.1, noise=(0.002, 0.015), noisy=0.05, blur=0.004, dapple=0.0, uneven=0.4)

DOMAIN: dict[str, Domain] = {
    "everyday": Domain(everyday.everyday, "A photo", "anything with parts, on anything"),
    "interior": Domain(rooms.interior, "A photo of a room", "large planes, furniture, things on walls"),
    "kitchen": Domain(rooms.kitchen, "A photo from a kitchen", "food and dishes, one colour inside another"),
    "hands": Domain(rooms.hands, "A photo of work as the worker sees it", "hands over things and under them", _HAND),
    "people": Domain(everyday.people, "A photo of people", "wholes of many colours, groups"),
    "crowd": Domain(everyday.crowd, "A photo of many small things", "small, alike, many"),
    "documents": Domain(
        documents.documents, "A photo of papers", "flat print, thin letters, edges that are no objects"
    ),
    "painting": Domain(documents.painting, "A painting", "outlines drawn by a brush, unnatural colours", _PAINT),
    "street": Domain(streets.street, "A photo of a street", "perspective, near and far, thin poles"),
    "fisheye": Domain(streets.fisheye, "A wide-angle photo", "bowed lines, sizes that change across the image"),
    "facade": Domain(streets.facade, "A photo of a house front", "doors, windows, signs: repeated parts of one whole"),
    "wildlife": Domain(nature.wildlife, "A photo of animals", "camouflage, night, warmth, grass in front", _DIM),
    "underwater": Domain(nature.underwater, "A photo under water", "haze, low contrast, see-through bodies", _DIVER),
    "parking": Domain(above.parking, "A photo of a car park from above", "rows of alike things with shadows", _SKY),
    "aerial": Domain(above.aerial, "A picture from the air", "roofs in two lights, trees, roads", _SKY),
    "plants": Domain(above.plants, "A photo of young plants from above", "leaves of one green over one another"),
    "boulders": Domain(heaped.boulders, "A photo of rocks", "things of the ground's own texture, hard shadows", _SPACE),
    "timber": Domain(heaped.timber, "A photo of timber", "packed ends and crossing trunks"),
    "waste": Domain(heaped.waste, "A photo of waste on a belt", "crushed, torn, see-through, heaped"),
    "nuclei": Domain(microscope.nuclei, "A fluorescence micrograph", "dim and bright, touching, soft edges", _SCOPE),
    "tissue": Domain(microscope.tissue, "A micrograph of stained tissue", "dark nuclei in a busy pale ground", _SLIDE),
    "xray": Domain(microscope.xray, "An X-ray picture of luggage", "transparency, things in one place", _SCANNER),
    "tangle": Domain(microscope.tangle, "A photo of tangled things", "thin, branching, ring-shaped, crossing"),
}  # fmt: skip
DOMAINS: tuple[str, ...] = tuple(DOMAIN)
