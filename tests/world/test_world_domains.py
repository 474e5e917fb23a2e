"""The world's 23 domains: each renders and is itself, alone, held out or in the mix; captions say what can be seen."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numba
import numpy as np
import pytest
from scene_checks import check_hierarchy, digest, digests_elsewhere, plain_processor

from minisam.world import DOMAINS, Scene, render
from minisam.world.__main__ import enclosed, main, statistics
from minisam.world.captions import PLACES, caption, colour_of, counted, plural
from minisam.world.domains.catalogue import DOMAIN
from minisam.world.render.lens import bend
from minisam.world.render.materials import Material
from minisam.world.render.objects import Node
from minisam.world.render.painter import Painter, SceneMask
from minisam.world.render.rng import Rng
from minisam.world.render.shading import Canvas, sample_row
from minisam.world.render.shapes import affine, box, composed, ellipse, mapped
from minisam.world.render.tiles import FOLDS, LEAVES, tiles
from minisam.world.scene import choose
from minisam_kernels import InputError

SEEDS = (3, 4)

# wrong version → (file, text in it, its replacement); each name stands after "Kills:" in the docstring of a test
MUTANTS: dict[str, tuple[str, str, str]] = {
    "a number drawn only where there is a choice": (
        "minisam/world/scene.py",
        "    return rng.pick(choice)",
        "    return rng.pick(choice) if len(choice) > 1 else choice[0]",
    ),
    "a lens measured in pixels": (
        "minisam/world/render/lens.py",
        "v = 2.0 * (y + 0.5) / size - 1.0",
        "v = 2.0 * (y + 0.5) / 96.0 - 1.0",
    ),
    "counting parts": ("minisam/world/captions.py", 'if mask.level == "whole":', "if True:"),
    "the painted colour": (
        "minisam/world/scene.py",
        "caption(image, masks",
        "caption((255 * canvas.colour.clip(0, 1)).astype(np.uint8), masks",
    ),
    "a ground too small to be in view": ("minisam/world/captions.py", "least = 0.05 *", "least = 0.0 *"),
    "BGR": ("minisam/world/captions.py", "            r, g, b = int(", "            b, g, r = int("),
    "a plural of one": ("minisam/world/captions.py", "    if count == 1:\n", "    if count == 0:\n"),
    "a shift that is off by one": ("minisam/world/render/shading.py", "(32 - shift)) < side", "(32 - shift)) <= side"),
    "a wrap at the wrong side": (
        "minisam/world/render/shading.py",
        "x1, y1 = (x0 + 1) & wrap, (y0 + 1) & wrap",
        "x1, y1 = min(x0 + 1, side - 1), min(y0 + 1, side - 1)",
    ),
    "a tile that is never filled": (
        "minisam/world/render/tiles.py",
        "if u * u + v * v <= 1.0:",
        "if u * u + v * v < 0.0:",
    ),
    "folds of the value instead of its absolute value": (
        "minisam/world/render/tiles.py",
        "np.abs(np.rint(finer / finer.std() * 1024.0) / 1024.0)",
        "(np.rint(finer / finer.std() * 1024.0) / 1024.0)",
    ),
    "owners taken from another place": (
        "minisam/world/render/lens.py",
        "owner[y0 + (1 if ay >= np.float32(0.5) else 0), x0 + (1 if ax >= np.float32(0.5) else 0)]",
        "owner[y, x]",
    ),
    "ghosts that own pixels": ("minisam/world/render/painter.py", "-1 if part.ghost else i", "i"),
    "the first owner kept": (
        "minisam/world/render/shading.py",
        "if index >= 0 and coverage[y, x] >= 0.5:",
        "if index >= 0 and coverage[y, x] >= 0.5 and owner_row[x + x_left] < 0:",
    ),
    "a part dropped at half of its parent": ("minisam/world/render/painter.py", "MAX_SHARE = 0.95", "MAX_SHARE = 0.5"),
    "a part kept that is all of its parent": ("minisam/world/render/painter.py", "MAX_SHARE = 0.95", "MAX_SHARE = 1.0"),
}


@pytest.fixture(scope="module")
def scenes() -> dict[tuple[str, int], Scene]:
    """Two scenes of 128 pixels for each domain."""
    return {(name, seed): render(seed, 128, name) for name in DOMAINS for seed in SEEDS}


def test_there_are_23() -> None:
    """As many as the paper's data sets, each with something to teach and words for its images."""
    assert len(DOMAINS) == len(set(DOMAINS)) == 23
    for domain in DOMAIN.values():
        assert domain.teaches and domain.opening[0] in "A" and not domain.opening.endswith(".")


@pytest.mark.parametrize("name", DOMAINS)
def test_every_domain(name: str, scenes: dict[tuple[str, int], Scene]) -> None:
    """It says its name, the hierarchy is exact, the image is no plain surface, there is something to segment."""
    for seed in SEEDS:
        scene = scenes[name, seed]
        assert scene.domain == name
        check_hierarchy(scene)
        assert scene.image.std() > 2.0
        assert any(mask.name not in PLACES for mask in scene.masks)
        assert all(mask.name == mask.name.strip().lower() for mask in scene.masks)
    assert digest(scenes[name, SEEDS[0]]) != digest(scenes[name, SEEDS[1]])
    assert digest(render(SEEDS[0], 128, name)) == digest(scenes[name, SEEDS[0]])


@pytest.mark.slow
def test_every_domain_on_a_plainer_processor(scenes: dict[tuple[str, int], Scene], tmp_path: Path) -> None:
    """The same bytes without AVX and fused multiply-add. If loops may ``contract``, 4 of 23 change: no mutant in the
    table, for all loops would be compiled twice."""
    if numba.config.DISABLE_JIT:
        pytest.skip("nothing is compiled")
    plainer = digests_elsewhere([SEEDS[0]], DOMAINS, **plain_processor(tmp_path))
    assert plainer == [digest(scenes[name, SEEDS[0]]) for name in DOMAINS]


def test_sizes_are_those_of_photographs(scenes: dict[tuple[str, int], Scene]) -> None:
    """Many small and some large: the median side is between 3 and 25 % of the image's, a tenth are over 15 %."""
    sides = np.sqrt([mask.area for scene in scenes.values() for mask in scene.masks]) / 128
    assert 0.03 < np.median(sides) < 0.25
    assert np.quantile(sides, 0.9) > 0.15
    levels = Counter(mask.level for scene in scenes.values() for mask in scene.masks)
    assert min(levels["whole"], levels["part"], levels["subpart"]) > 0.05 * sum(levels.values())


def test_the_mix_is_even_and_equals_its_parts(scenes: dict[tuple[str, int], Scene]) -> None:
    """Every domain has its share, and is the same alone. Kills: a number drawn only where there is a choice."""
    counts = Counter(choose(Rng(seed), None) for seed in range(2300))
    assert set(counts) == set(DOMAINS)
    assert max(abs(count - 100) for count in counts.values()) < 5 * np.sqrt(100)
    mixed = render(17, 64)
    assert digest(mixed) == digest(render(17, 64, mixed.domain))


def test_held_out_domains_never_appear() -> None:
    """A choice of domains is kept to, in any order that it is given in, and may be of one."""
    kept = [name for name in DOMAINS if name not in ("nuclei", "street")]
    assert {choose(Rng(seed), kept) for seed in range(500)} == set(kept)
    assert digest(render(8, 64, ["plants"])) == digest(render(8, 64, "plants"))


@pytest.mark.parametrize("wrong", ["moon", ["street", "moon"], []])
def test_unknown_domains_are_named(wrong: str | list[str]) -> None:
    """The message lists what there is."""
    with pytest.raises(InputError, match=r"expected domains out of everyday, .*tangle, got (moon|none)"):
        render(0, 64, wrong)


@pytest.mark.parametrize("name", DOMAINS)
def test_a_domain_at_another_size(name: str) -> None:
    """Large masks agree at 96 and 192 pixels: lengths are shares of the image. Kills: a lens measured in pixels."""
    small, large = render(5, 96, name), render(5, 192, name)
    halves = [m.segmentation.reshape(96, 2, 96, 2).mean(axis=(1, 3)) >= 0.5 for m in large.masks]
    for mask in small.masks:
        if mask.area > 800:
            best = max((h & mask.segmentation).sum() / (h | mask.segmentation).sum() for h in halves)
            assert best > 0.85, mask.name


def test_captions_count_what_is_there(scenes: dict[tuple[str, int], Scene]) -> None:
    """The kind of image, the five largest kinds of things in their number and colour, large grounds; nothing else.

    Kills: counting parts, the painted colour.
    """
    for (name, _), scene in scenes.items():
        words = scene.caption
        assert words.startswith(DOMAIN[name].opening) and words.endswith(".") and "  " not in words
        wholes = [mask for mask in scene.masks if mask.level == "whole"]
        area: Counter[str] = Counter()
        for mask in wholes:
            area[mask.name] += mask.area
        things = [thing for thing, _ in area.most_common() if thing not in PLACES][:5]
        for thing in things:
            segmentations = [mask.segmentation for mask in wholes if mask.name == thing]
            shade = colour_of(scene.image, segmentations) if len(segmentations) < 4 else ""
            assert counted(len(segmentations), thing, shade) in words
        for place in PLACES - {"background"}:
            if f"the {place}" in words:
                assert area[place] > 0.05 * 128 * 128


@pytest.mark.parametrize(("pixels", "view"), [(5, ""), (6, ", with the road in view")])
def test_large_grounds_are_in_view(pixels: int, view: str) -> None:
    """A ground is named if it covers more than 5 % of the image. Kills: a ground too small to be in view."""
    car, road = np.zeros((2, 10, 10), bool)
    car[:3, :3] = road[5, :pixels] = True
    masks = [SceneMask(car, "whole", None, "car", 9), SceneMask(road, "whole", None, "road", pixels)]
    assert caption(np.zeros((10, 10, 3), np.uint8), masks, "A photo") == f"A photo: a black car{view}."


def test_colours_in_captions_are_those_of_the_image(scenes: dict[tuple[str, int], Scene]) -> None:
    """ "A red car" has red pixels: checked by hue, not by the code's own table. Kills: BGR."""
    hues = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0), "orange": (1, 0.5, 0)}
    checked = 0
    for scene in scenes.values():
        for mask in scene.masks:
            name = colour_of(scene.image, [mask.segmentation])
            pixels = scene.image[mask.segmentation].astype(float)
            middle = np.median(pixels, axis=0)
            if name == "black":
                assert middle.max() < 60
            elif name == "white":
                assert middle.min() > 140
            elif name in hues and mask.area > 100:
                chroma = middle - middle.mean()
                toward = np.array(hues[name]) - np.mean(hues[name])
                assert chroma @ toward > 0.5 * np.linalg.norm(chroma) * np.linalg.norm(toward), (name, middle)
                checked += 1
    assert checked > 20
    halves = np.zeros((8, 8, 3), np.uint8)
    halves[:, :4] = (200, 10, 10)
    halves[:, 4:] = (10, 10, 200)
    whole = np.ones((8, 8), bool)
    assert colour_of(halves, [whole]) == ""
    whole[:, 6:] = False
    assert colour_of(halves, [whole]) == "red"


@pytest.mark.parametrize(
    ("count", "name", "colour", "words"),
    [
        (1, "car", "red", "a red car"), (1, "animal", "", "an animal"), (3, "person", "", "three people"),
        (28, "nucleus", "", "28 nuclei"), (2, "bus", "white", "two white buses"), (2, "shelf", "", "two shelves"),
        (1, "paper", "grey", "a piece of grey paper"), (1, "books", "", "a row of books"), (2, "box", "", "two boxes"),
    ],
)  # fmt: skip
def test_words(count: int, name: str, colour: str, words: str) -> None:
    """Articles, numbers, plurals. Kills: a plural of one."""
    assert counted(count, name, colour) == words


def test_every_name_has_a_plural(scenes: dict[tuple[str, int], Scene]) -> None:
    """No name of a thing is a plural itself but those that the table knows."""
    for scene in scenes.values():
        for mask in scene.masks:
            assert plural(mask.name) != mask.name or mask.name in ("fish", "jellyfish")


def test_sample_row_is_bilinear() -> None:
    """Against the look-up written in floating point. Kills: a shift that is off by one, a wrap at the wrong side."""
    rng = np.random.default_rng(0)
    for side in (16, 64, 256):
        tile = rng.normal(size=(side, side)).astype(np.float32)
        u, v, du, dv = rng.uniform(-3, 3, 4) * (1, 1, 0.02, 0.02)
        out = np.full(50, np.nan, np.float32)
        sample_row(tile, u, v, du, dv, 7, 40, out)
        x = np.arange(7, 40)
        px, py = (u + x * du) * side, (v + x * dv) * side
        x0, y0 = np.floor(px).astype(int), np.floor(py).astype(int)
        ax, ay = px - x0, py - y0

        def at(i, j, tile=tile, side=side):
            return tile[j % side, i % side]

        expected = (at(x0, y0) * (1 - ax) + at(x0 + 1, y0) * ax) * (1 - ay)
        expected += (at(x0, y0 + 1) * (1 - ax) + at(x0 + 1, y0 + 1) * ax) * ay
        np.testing.assert_allclose(out[7:40], expected, atol=1e-4)
        assert np.isnan(out[:7]).all() and np.isnan(out[40:]).all()


def test_leaves_and_folds_are_not_clouds() -> None:
    """Mean 0, variance 1; leaves are level inside and jump at their rims, the crests of folds are sharp.

    Kills: a tile that is never filled, folds of the value instead of its absolute value.
    """
    clouds, leaves, folds = (tiles()[kind][0].astype(float) for kind in (1, LEAVES, FOLDS))
    for tile in (leaves, folds):
        assert abs(tile.mean()) < 0.01 and abs(tile.std() - 1) < 0.01

    def level(tile: np.ndarray) -> float:
        step = np.abs(np.diff(tile, axis=1))
        return float((step < 0.2 * step.mean()).mean())

    assert level(leaves) > 1.3 * level(clouds)
    bends = [np.diff(tile, 2, axis=1) for tile in (clouds, folds)]
    skews = [(bend**3).mean() / bend.std() ** 3 for bend in bends]
    assert abs(skews[0]) < 0.1 < 0.5 < -skews[1]


def painted() -> tuple[Canvas, Painter]:
    """A black canvas of 64 pixels."""
    canvas = Canvas(64, (0.0, -1.0))
    return canvas, Painter(canvas, Rng(0))


def flat(value: float) -> Material:
    """A plain surface of one grey."""
    return Material(np.full((64, 3), value, np.float32), relief=0.0)


def test_bending_moves_colours_and_masks_together() -> None:
    """A white disc is where its mask is, after the lens as before. Kills: owners taken from another place."""
    canvas, painter = painted()
    painter.draw(Node("disc", ellipse(), flat(1.0)), affine(0.6, 0.45, 0.25))
    before = canvas.owner.copy()
    bend(canvas, barrel=0.6, ripple=0.01, periods=1.0, shift=0.3)
    assert (canvas.owner != before).mean() > 0.03
    grey = canvas.colour[..., 0]
    assert (grey[canvas.owner == 0] > 0.2).all() and (grey[canvas.owner < 0] < 0.8).all()  # within half a pixel
    bend(canvas, circle=1.0)
    assert (canvas.owner[0, 0], canvas.colour[0, 0, 0] < 0.02) == (-1, True)
    still = canvas.colour.copy()
    bend(canvas)
    np.testing.assert_allclose(canvas.colour[1:-1, 1:-1], still[1:-1, 1:-1], atol=1e-6)


def test_ghosts_are_seen_but_own_nothing() -> None:
    """A stain changes colours and no mask; seen through, a thing multiplies what lies behind.

    Kills: ghosts that own pixels.
    """
    canvas, painter = painted()
    painter.draw(Node("ground", box(-2, -2, 2, 2), flat(0.5)), affine(0.5, 0.5, 1.0))
    painter.draw(Node("stain", ellipse(), flat(1.0), ghost=True), affine(0.5, 0.5, 0.3))
    assert (canvas.owner == 0).all() and abs(canvas.colour[32, 32, 0] - 1.0) < 1e-6
    glass = flat(0.5)
    glass.through = True
    painter.draw(Node("glass", ellipse(), glass), affine(0.2, 0.2, 0.1))
    assert abs(canvas.colour[12, 12, 0] - 0.25) < 1e-6 and canvas.owner[12, 12] == 2


def test_masks_are_what_can_be_seen() -> None:
    """What is painted later hides what was there; what sticks out of a whole belongs to it. Kills: the first owner
    kept."""
    _, painter = painted()
    square = box(-1, -1, 1, 1)
    behind = Node("behind", square, flat(0.5))
    behind.attach("leg", square.at(0, 1.25, 0.25), flat(0.2))
    painter.draw(behind, affine(20 / 64, 24 / 64, 12 / 64))
    painter.draw(Node("before", square, flat(1.0)), affine(36 / 64, 24 / 64, 12 / 64))
    whole, leg, before = (mask.segmentation for mask in painter.masks())
    expected = np.zeros((3, 64, 64), bool)
    expected[0, 12:36, 8:24] = expected[0, 36:42, 17:23] = True
    expected[1, 36:42, 17:23] = True
    expected[2, 12:36, 24:48] = True
    np.testing.assert_array_equal([whole, leg, before], expected)


@pytest.mark.parametrize(("columns", "kept"), [(4, True), (24, True), (38, True), (39, False), (40, False)])
def test_a_part_that_is_nearly_all_of_its_parent_is_no_mask(columns: int, kept: bool) -> None:
    """The limit is 95 %: 38 of 40 columns. Kills: a part dropped at half of its parent, a part kept that is all of its
    parent."""
    _, painter = painted()
    node = Node("whole", box(0, 0, 40 / 64, 40 / 64), flat(0.5))
    node.on("part", box(0, 0, columns / 64, 1), flat(1.0))
    painter.draw(node, affine(8 / 64, 8 / 64))
    masks = {mask.name: mask.area for mask in painter.masks()}
    assert masks == ({"whole": 1600, "part": 40 * columns} if kept else {"whole": 1600})


def test_composition_of_maps() -> None:
    """(outer ∘ inner)(p) = outer(inner(p))."""
    outer, inner = affine(0.3, -0.2, 1.7, 0.4, 1.2), affine(-0.6, 0.1, 0.5, 2.0)
    np.testing.assert_allclose(mapped(composed(outer, inner), 0.3, 0.9), mapped(outer, *mapped(inner, 0.3, 0.9)))


def test_statistics_know_rings_and_thin_things() -> None:
    """A ring encloses its hole, a disc nothing, a hole at the border is none; a line is thin."""
    y, x = np.mgrid[:100, :100] - 49.5
    ring = (x * x + y * y < 1600) & (x * x + y * y > 900)
    disc = x * x + y * y < 900
    assert abs(enclosed(ring) - disc.sum()) < 40 and enclosed(disc) == 0 and enclosed(disc[:50]) == 0
    line = np.zeros((100, 100), bool)
    line[50:52, 5:95] = True
    masks = [SceneMask(mask, "whole", None, "thing", int(mask.sum())) for mask in (ring, disc, line)]
    words = statistics([Scene(np.zeros((100, 100, 3), np.uint8), masks, "everyday", "")])
    assert "3.0 masks per image: 100 % wholes" in words and "33 % thin, 33 % ring-shaped" in words


def test_contact_sheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each domain; one domain alone; what is printed."""
    from PIL import Image

    page = tmp_path / "all.png"
    monkeypatch.setattr("sys.argv", ["world", "--all-domains", "--seeds", "1-1", "--size", "48", "-o", str(page)])
    main()
    assert Image.open(page).size == (96 + 52, 23 * 52)
    assert "masks per image" in capsys.readouterr().out
    arguments = ["--domain", "timber", "--seeds", "0-3", "--size", "48", "--captions", "--outlines", "-o", str(page)]
    monkeypatch.setattr("sys.argv", ["world", *arguments])
    main()
    assert Image.open(page).size == (104, 104)
    assert capsys.readouterr().out.count("A photo of timber: ") == 4
