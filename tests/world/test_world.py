"""The procedural world: the same bytes for the same seed, exact masks, the same scene at every size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numba
import numpy as np
import pytest
from scene_checks import check_hierarchy, digest, digests_elsewhere, plain_processor

from minisam.world import Scene, render
from minisam.world.render.raster import blur, rasterise
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import box, ellipse, ring, union
from minisam.world.render.tiles import EXPONENTS, tiles

SEEDS = range(24)

# wrong version → (file, text in it, its replacement); each name stands after "Kills:" in the docstring of a test
MUTANTS: dict[str, tuple[str, str, str]] = {
    "a generator shared between scenes": (
        "minisam/world/render/rng.py",
        "generator = np.random.Generator(np.random.PCG64(seed))",
        'generator = globals().setdefault("shared", np.random.Generator(np.random.PCG64(seed)))',
    ),
    "a cached tile changed in place": (
        "minisam/world/render/shading.py",
        "    return pyramid[level]",
        "    pyramid[level][0, 0] += np.float32(0.125)\n    return pyramid[level]",
    ),
    "an order taken from a set": ("minisam/world/scene.py", "rng.pick(choice)", "rng.pick(tuple(set(choice)))"),
    "a cache that depends on what was rendered before": (
        "minisam/world/render/rng.py",
        "    return round(math.cos(angle) * GRID) / GRID, round(math.sin(angle) * GRID) / GRID",
        "    value = round(math.cos(angle) * GRID) / GRID, round(math.sin(angle) * GRID) / GRID\n"
        '    return globals().setdefault("cache", {}).setdefault(round(angle, 1), value)',
    ),
    "a mask of what is hidden": ("minisam/world/render/painter.py", " or area < least:", ":"),
    "a whole without its parts": (
        "minisam/world/render/painter.py",
        "slots[index + 1 : last + 2, depth]",
        "slots[index + 1 : index + 2, depth]",
    ),
    "shapes measured in pixels": ("minisam/world/render/raster.py", "starts, float(size),", "starts, 128.0,"),
    "an edge without its slope": (
        "minisam/world/render/raster.py",
        "share = passed + (right - left) * per_pixel * (c + 1 - 0.5 * (left + right))",
        "share = passed",
    ),
    "overlaps that count twice": ("minisam/world/render/raster.py", "min(value, np.float32(1.0))", "value"),
    "an off-by-one in the running sum": (
        "minisam/world/render/raster.py",
        "source[max(y - radius, 0)]",
        "source[max(y - radius + 1, 0)]",
    ),
    "a row that must be longer than the window": (
        "minisam/world/render/raster.py",
        "max(width - radius - 1, 0)",
        "max(width - radius - 1, radius)",
    ),
    "a shifted mean of signed": ("minisam/world/render/rng.py", "- 1.5)", "- 1.4)"),
    "a last number that never comes": ("minisam/world/render/rng.py", "(high - low + 1)", "(high - low)"),
    "logarithms left out": (
        "minisam/world/render/rng.py",
        "low * math.exp(self.random() * math.log(high / low))",
        "(low + self.random() * (high - low))",
    ),
    "weights left out": ("minisam/world/render/rng.py", "rest -= weight", "rest -= total / len(options)"),
}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """A couple of dozen scenes of 128 pixels, rendered once for all tests."""
    return [render(seed, 128) for seed in SEEDS]


def test_same_seed_same_bytes(scenes: list[Scene]) -> None:
    """A scene does not depend on those before it. Kills: a generator shared between scenes, a cached tile changed in
    place."""
    for seed in (5, 0, 11):
        assert digest(render(seed, 128)) == digest(scenes[seed])
    assert len({digest(scene) for scene in scenes}) == len(scenes)


def test_same_bytes_in_another_process(scenes: list[Scene]) -> None:
    """Nothing depends on hash randomisation or on a process's state. Kills: an order taken from a set, a cache that
    depends on what was rendered before."""
    assert digests_elsewhere([7, 3], PYTHONHASHSEED="4") == [digest(scenes[7]), digest(scenes[3])]


@pytest.mark.slow
def test_same_bytes_on_a_plainer_processor(scenes: list[Scene], tmp_path: Path) -> None:
    """Compiled for a processor without AVX and fused multiply-add; for every domain: ``test_world_domains``."""
    if numba.config.DISABLE_JIT:
        pytest.skip("nothing is compiled")
    assert digests_elsewhere(list(SEEDS), **plain_processor(tmp_path)) == [digest(scene) for scene in scenes]


def test_forms(scenes: list[Scene]) -> None:
    """Shapes and types are as documented, every level occurs, and no mask is tiny. Kills: a mask of what is hidden."""
    levels = set()
    for scene in scenes:
        assert scene.image.shape == (128, 128, 3) and scene.image.dtype == np.uint8
        assert scene.masks
        for mask in scene.masks:
            levels.add(mask.level)
            assert mask.segmentation.shape == (128, 128) and mask.segmentation.dtype == bool
            assert mask.segmentation.sum() >= 5
            assert mask.name
    assert levels == {"whole", "part", "subpart"}


def test_masks_are_nested_and_disjoint(scenes: list[Scene]) -> None:
    """A mask lies in its parent's, one level up; siblings share no pixel. Kills: a whole without its parts."""
    for scene in scenes:
        check_hierarchy(scene)


def test_wholes_cover_the_image(scenes: list[Scene]) -> None:
    """Backgrounds are masks too: nearly every pixel belongs to a whole."""
    covered = [np.any([m.segmentation for m in s.masks if m.level == "whole"], axis=0).mean() for s in scenes]
    assert np.median(covered) > 0.98


def test_same_scene_at_another_size(scenes: list[Scene]) -> None:
    """A large mask at 128 and 256 pixels agrees: lengths are shares of the image. Kills: shapes measured in pixels."""
    compared = 0
    for seed in (1, 2, 4, 8, 14):
        large = render(seed, 256)
        halves = [m.segmentation.reshape(128, 2, 128, 2).mean(axis=(1, 3)) >= 0.5 for m in large.masks]
        for mask in scenes[seed].masks:
            if mask.segmentation.sum() < 800:
                continue
            best = max((h & mask.segmentation).sum() / (h | mask.segmentation).sum() for h in halves)
            assert best > 0.9, (seed, mask.name)
            compared += 1
        means = large.image.reshape(128, 2, 128, 2, 3).mean(axis=(1, 3)) - scenes[seed].image
        assert np.abs(means).mean() < 16
    assert compared >= 10


def test_coverage_is_area() -> None:
    """The sum of coverage is the polygon's area, wherever it lies; holes and overlaps count once.

    Kills: an edge without its slope, overlaps that count twice.
    """
    for x, y, r in ((0.5, 0.5, 0.3), (0.31, 0.62, 0.111), (0.503, 0.407, 0.02)):
        disc = ellipse(corners=48)
        moved = disc.at(x, y, r)
        window = rasterise(moved.points, moved.starts, 100)
        px, py = moved.points[:, 0], moved.points[:, 1]
        area = 0.5 * (px * np.roll(py, -1) - np.roll(px, -1) * py).sum() * 100 * 100
        assert window is not None and abs(window.coverage.sum() - area) < 0.02 + 1e-3 * area
    square = box(0.2, 0.2, 0.7, 0.7)
    window = rasterise(*vars(union(square, box(0.4, 0.4, 0.9, 0.9))).values(), 100)
    assert window is not None and abs(window.coverage.sum() - (2500 + 2500 - 900)) < 1
    holed = ring(box(-1, -1, 1, 1), 0.5).at(0.5, 0.5, 0.4)
    window = rasterise(holed.points, holed.starts, 100)
    assert window is not None and abs(window.coverage.sum() - 6400 * 0.75) < 1


def test_coverage_of_a_cut_shape() -> None:
    """A shape that sticks out of the frame is cut at it; one outside gives None."""
    cut = box(-0.5, 0.25, 0.25, 3.0)
    window = rasterise(cut.points, cut.starts, 64)
    assert window is not None and (window.x, window.coverage.sum()) == (0, 16 * 48)
    outside = box(1.2, 0.1, 1.5, 0.3)
    assert rasterise(outside.points, outside.starts, 64) is None


def test_blur_is_a_running_mean() -> None:
    """Against the mean written out, borders repeated.

    Kills: an off-by-one in the running sum, a row that must be longer than the window.
    """
    image = np.arange(35, dtype=np.float32).reshape(5, 7) % 11
    for radius in (1, 3, 5, 9):
        expected = image.astype(np.float64)
        for axis in (1, 0, 1, 0):
            padded = np.pad(expected, [(radius, radius) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
            parts = [np.roll(padded, -i, axis)[:5, :7] for i in range(2 * radius + 1)]
            expected = np.mean(parts, axis=0)
        np.testing.assert_allclose(blur(image, radius), expected, atol=1e-4)


def test_noise_tiles_fall_like_photographs() -> None:
    """Unit variance, and more power in low frequencies the larger the exponent."""
    ratios = []
    for pyramid in tiles()[: len(EXPONENTS)]:
        assert abs(float(pyramid[0].std()) - 1.0) < 0.01
        power = np.abs(np.fft.fft2(pyramid[0])) ** 2
        ratios.append(power[1:4, 1:4].mean() / power[60:64, 60:64].mean())
    assert ratios == sorted(ratios) and ratios[0] > 10


def test_draws_stay_in_bounds() -> None:
    """Every kind of draw respects its bounds; the stream depends on the seed alone."""
    rng, twin = Rng(3), Rng(3)
    assert [rng.random() for _ in range(5000)] == [twin.random() for _ in range(5000)]
    for _ in range(500):
        assert 2 <= rng.integer(2, 4) <= 4
        assert 0.1 <= rng.log_uniform(0.1, 10.0) <= 10.0
        assert abs(rng.signed(1.0)) <= 3.0
        assert rng.weighted(((1, "a"), (0, "b"))) == "a"


def test_draws_have_the_distributions_they_promise() -> None:
    """Means, deviations and shares of 20 000 draws, within five standard errors.

    Kills: a shifted mean of signed, a last number that never comes, logarithms left out, weights left out.
    """
    rng, count = Rng(5), 20_000
    five_errors = 5 / np.sqrt(count)  # of a quantity of standard deviation 1
    signed = np.array([rng.signed(2.0) for _ in range(count)])
    assert abs(signed.mean()) < 2.0 * five_errors and abs(signed.std() / 2.0 - 1.0) < five_errors
    uniform = np.array([rng.uniform(-1.0, 3.0) for _ in range(count)])
    assert abs(uniform.mean() - 1.0) < 4.0 / np.sqrt(12) * five_errors
    below = {
        1 / 2: [rng.log_uniform(0.1, 10.0) < 1.0 for _ in range(count)],
        0.3: [rng.chance(0.3) for _ in range(count)],
        3 / 4: [rng.weighted(((3, True), (1, False))) for _ in range(count)],
    }
    for share, draws in below.items():
        assert abs(np.mean(draws) - share) < np.sqrt(share * (1 - share)) * five_errors
    for kinds in (Counter(rng.integer(2, 4) for _ in range(count)), Counter(rng.pick("abc") for _ in range(count))):
        assert len(kinds) == 3 and max(abs(n / count - 1 / 3) for n in kinds.values()) < np.sqrt(2) / 3 * five_errors
    directions = np.array([rng.direction() for _ in range(count)])
    np.testing.assert_allclose(np.hypot(*directions.T), 1.0, atol=2e-6)
    assert np.abs(directions.mean(axis=0)).max() < np.sqrt(0.5) * five_errors
