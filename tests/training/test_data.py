"""Images for training: numbered, cut, chosen; what is held out is never shown."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minisam.files.records import find_records
from minisam.training import data
from minisam.training.data import Bare, Pictures, choose_masks, smallest_mask, window
from minisam.training.pack import pack
from minisam.training.settings import remaining_domains
from minisam.world import HELD_OUT, render
from minisam_kernels import InputError
from sa1b import sa1b_folder

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "a generator shared by items": (
        "minisam/training/data.py",
        "rng = np.random.default_rng([self.seed, index])",
        'rng = self.__dict__.setdefault("_rng", np.random.default_rng(self.seed))',
    ),
    "training on held-out scenes": (
        "minisam/training/data.py",
        "HELD_OUT + index if self.held_out else int(rng.integers(HELD_OUT))",
        "HELD_OUT + index if self.held_out else int(rng.integers(2**32))",
    ),
    "held-out scenes that training sees": (
        "minisam/training/data.py",
        "scenes = HELD_OUT + index if self.held_out else ",
        "scenes = index if self.held_out else ",
    ),
    "masks of any size": ("minisam/training/data.py", "(areas >= self.least) & ", "(areas > 0) & "),
    "drawing with replacement": ("minisam/training/data.py", "replace=False, p=chance", "replace=True, p=chance"),
    "a mirrored image alone": (
        "minisam/training/data.py",
        "(pixels[:, ::-1], masks[:, :, ::-1])",
        "(pixels[:, ::-1], masks)",
    ),
    "a count from the wrong image": (
        "minisam/training/sources.py",
        "return range(0, len(self), every)",
        "return range(1, len(self), every)",
    ),
    "numbers alone": (
        "minisam/training/sources.py",
        "seen = [i for i in range(len(source)) if hashlib.sha256(source.content(i)).digest() not in secret]",
        "seen = sorted(set(range(len(source))) - set(source.held_out(every)))",
    ),
    "a scene of the world instead": (
        "minisam/training/data.py",
        "            number = int(rng.choice(self.numbers[chosen]))\n",
        "            return self._choose(*window(render(1, self.size), self.size, rng), rng)\n",
    ),
    "image and masks cut at different places": (
        "minisam/training/data.py",
        "mask.segmentation[inside]",
        "mask.segmentation[:side, :side]",
    ),
    "a window resized": (
        "minisam/training/data.py",
        "return scene.image[inside], masks",
        "return np.asarray(Image.fromarray(scene.image).resize((side, side))), masks",
    ),
    "the last row or column out of reach": (
        "minisam/training/data.py",
        "rng.integers(height - side + 1)), int(rng.integers(width - side + 1))",
        "rng.integers(max(1, height - side))), int(rng.integers(max(1, width - side)))",
    ),
    "domains that are ignored": (
        "minisam/training/data.py",
        "scale * self.size, self.domains)",
        "scale * self.size)",
    ),
    "a zoom that is ignored": (
        "minisam/training/data.py",
        "scale = 2 if self.zoom and rng.random() < self.zoom else 1",
        "scale = 1",
    ),
    "one of real images' chances": (
        "minisam/training/data.py",
        "rng.random() < self.zoom else 1",
        "rng.random() < self.paste else 1",
    ),
    "a stream that depends on what was asked before": (
        "minisam/training/data.py",
        "rng = np.random.default_rng([self.seed, index])",
        'rng = self.__dict__.setdefault("_rng", np.random.default_rng(self.seed))',
    ),
}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, about NumPy 2


def test_pictures_are_numbered():
    """Item i depends on (seed, i) alone, and pads at the right and bottom. Kills: a generator shared by items."""
    one, other = Pictures(64, 3, (), 1.0, 5, 10), Pictures(64, 3, (), 1.0, 5, 10)
    other[0]
    for key in ("image", "size", "masks"):
        np.testing.assert_array_equal(one[7][key], other[7][key])
    assert one[7]["masks"].shape == (3, 64, 64) and one[7]["masks"].any(axis=(1, 2)).all()
    assert not np.array_equal(one[7]["image"], one[8]["image"])


def test_training_and_held_out_scenes_never_meet(monkeypatch):
    """Kills: training on held-out scenes, held-out scenes that training sees."""
    seen: list[int] = []
    monkeypatch.setattr(data, "render", lambda seed, size, domains: (seen.append(seed), render(seed, size))[1])
    training = Pictures(64, 2, (), 1.0, 0, 100)
    for i in range(20):
        training[i]
    assert max(seen) < HELD_OUT
    seen.clear()
    Pictures(64, 2, (), 1.0, 0, 100, held_out=True)[3]
    assert seen[0] == HELD_OUT + 3 and min(seen) >= HELD_OUT


@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 99))
def test_no_mask_comes_twice_unless_it_must(available, count, seed):
    """Kills: drawing with replacement, which repeats some masks while others are left."""
    areas, fit = np.arange(1, 20), np.arange(3, 3 + available)
    chosen = choose_masks(areas, fit, count, np.random.default_rng(seed))
    assert len(chosen) == count and set(chosen) <= set(fit) and len(set(chosen)) == min(count, available)


def test_the_smallest_mask_grows_with_the_patch():
    """Eight cells of the decoder's masks, which are a quarter of a patch wide. Kills: masks of any size."""
    assert smallest_mask(8) == 32 and smallest_mask(16) == 128
    pictures = Pictures(64, 8, (), 1.0, 0, 50, least=200)
    assert min(pictures[i]["masks"].sum(axis=(1, 2)).min() for i in range(5)) >= 200


def test_real_pictures_come_from_sa1bs_schema(tmp_path):
    folder = sa1b_folder(tmp_path / "set")
    assert len(find_records(folder)) == 2
    item = Pictures(64, 3, (str(folder),), 0.0, 0, 10)[3]
    height, width = item["size"]
    assert max(height, width) == 64 and not item["masks"][:, height:].any() and not item["masks"][:, :, width:].any()
    with pytest.raises(InputError, match=r"expected images and JSON files in SA-1B's schema below .*, got none"):
        find_records(tmp_path / "set" / "images")
    with pytest.raises(InputError, match=r"expected --world 1 when no --data folder is given, got 0.5"):
        Pictures(64, 3, (), 0.5, 0, 10)


def test_a_cut_fits_its_masks(tmp_path):
    """Cut, resized and mirrored together: the mask of a bright square stays on it. Kills: a mirrored image alone."""
    coco = pytest.importorskip("pycocotools.mask")
    mask = np.zeros((80, 120), bool)
    mask[10:50, 20:50] = True
    code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    record = {"annotations": [{"segmentation": {"size": code["size"], "counts": code["counts"].decode()}}]}
    (tmp_path / "a.json").write_text(json.dumps(record))
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(tmp_path / "a.png")
    pictures, mirrored = Pictures(64, 1, (str(tmp_path),), 0.0, 1, 40), set()
    for i in range(20):
        item = pictures[i]
        if item["masks"].sum() < 400:  # the world's, where the square was cut away
            continue
        bright = item["image"][..., 0] > 127
        assert (bright ^ item["masks"][0]).mean() < 0.02
        mirrored.add(bool(np.nonzero(bright)[1].mean() > 32))
    assert mirrored == {True, False}


def test_bare_pictures(tmp_path):
    folder = sa1b_folder(tmp_path / "set")
    item = Bare(64, (str(folder),), 0.5, 0, 10)[1]
    assert set(item) == {"image", "size"} and item["image"].shape == (64, 64, 3)
    with pytest.raises(InputError, match=r"expected images .* got none"):
        Bare(64, (str(folder / "annotations"),), 0.0, 0, 10)


def test_held_out_pictures_are_never_shown(tmp_path):
    """Every third image of a set, from the first on, in both streams. Kills: a count from the wrong image."""
    folder = sa1b_folder(tmp_path / "set", 7)
    for stream in (Pictures(64, 2, (str(folder),), 0.0, 0, 99, hold_out=3), Bare(64, (str(folder),), 0.0, 0, 99, 3)):
        rng = np.random.default_rng(0)
        assert {stream.draw_source(rng)[1] for _ in range(200)} == {1, 2, 4, 5}
    with pytest.raises(InputError, match=r"expected more images in each set than --hold-out 2 leaves out, got 1"):
        Pictures(64, 2, (str(sa1b_folder(tmp_path / "one", 1)),), 0.0, 0, 99, hold_out=2)


def test_copies_of_held_out_pictures_are_never_shown(tmp_path, monkeypatch):
    """Under another name, in another set, as a partner for pasting, in a packed file. Kills: numbers alone."""
    one, other = sa1b_folder(tmp_path / "one", 6), sa1b_folder(tmp_path / "other", 3)
    # held out are 0 and 3 of the one, 0 of the other; the copies are numbers 2 and 1
    (one / "images" / "2.jpg").write_bytes((one / "images" / "0.jpg").read_bytes())
    (other / "images" / "1.jpg").write_bytes((one / "images" / "3.jpg").read_bytes())
    for index in (0, 2):  # the same images as in the first set: other ones
        Image.fromarray(render(90 + index, 96).image[:64]).save(other / "images" / f"{index}.jpg", quality=95)
    folders = (str(one), str(other))
    pack(folders, tmp_path / "packed.safetensors", 96, 90, 10**7)
    for data_ in (folders, (str(tmp_path / "packed.safetensors"),)):
        streams = Pictures(32, 1, data_, 0.0, 0, 99, least=1, hold_out=3, paste=1.0), Bare(32, data_, 0.0, 0, 99, 3)
        for stream in streams:
            shown: set[tuple[int, int]] = set()

            def spy(number, source, shown=shown):
                picture = source.picture
                monkeypatch.setattr(source, "picture", lambda at: (shown.add((number, at)), picture(at))[1])

            for number, source in enumerate(stream.sources):
                spy(number, source)
            for i in range(60):
                stream[i]
            assert shown == {(0, 1), (0, 4), (0, 5), (1, 2)}


def test_without_the_world_there_is_no_world(tmp_path, monkeypatch):
    """An image whose masks are all too small gives way to another of its set. Kills: a scene of the world instead."""
    folder = str(sa1b_folder(tmp_path / "set", 4))
    monkeypatch.setattr(data, "render", lambda *given: pytest.fail("a scene of the world"))
    stream = Pictures(64, 2, (folder,), 0.0, 0, 99, least=600)
    few = [stream._changed(0, i % 4, np.random.default_rng(i)) for i in range(40)]
    assert any(item is None for item in few) and any(item is not None for item in few)
    for i in range(30):
        assert stream[i]["masks"].sum(axis=(1, 2)).min() >= 600
    with pytest.raises(InputError, match="expected masks of at least 9999 pixels at 64 × 64 in set, got none in 200"):
        Pictures(64, 2, (folder,), 0.0, 0, 99, least=9999)[0]


def test_pasting_and_colours_belong_to_the_number(tmp_path):
    folder = str(sa1b_folder(tmp_path / "set", 4))
    plain = Pictures(64, 2, (folder,), 0.0, 0, 99)
    one, other = (Pictures(64, 2, (folder,), 0.0, 0, 99, colours=0.4, paste=0.5) for _ in range(2))
    other[5]
    np.testing.assert_array_equal(one[7]["image"], other[7]["image"])
    np.testing.assert_array_equal(one[7]["masks"], other[7]["masks"])
    assert any(not np.array_equal(one[i]["image"], plain[i]["image"]) for i in range(5))


@pytest.mark.parametrize("number", range(4))
def test_a_window_of_a_scene_is_the_scene_there(number):
    """Kills: image and masks cut at different places, a window resized, the last row or column out of reach."""
    scene, seen = render(number, 64), set()
    for seed in range(40):
        pixels, masks = window(scene, 62, np.random.default_rng(seed))
        for y, x in np.ndindex(3, 3):
            cut = np.s_[y : y + 62, x : x + 62]
            same = np.array_equal(pixels, scene.image[cut])
            if same and all(np.array_equal(a, b.segmentation[cut]) for a, b in zip(masks, scene.masks, strict=True)):
                seen.add((y, x))
                break
        else:
            pytest.fail(f"seed {seed}: no window of the scene")
    assert {y for y, _ in seen} == {x for _, x in seen} == {0, 1, 2}
    np.testing.assert_array_equal(window(scene, 64, np.random.default_rng(0))[0], scene.image)


def test_a_domain_that_is_left_out_is_never_shown(monkeypatch):
    """Kills: domains that are ignored."""
    shown = []
    monkeypatch.setattr(data, "render", lambda *args: shown.append(render(*args)) or shown[-1])
    stream = Pictures(32, 1, (), 1.0, 3, 60, least=1, domains=remaining_domains(("nuclei", "street")))
    for item in range(40):
        stream[item]
    domains = {scene.domain for scene in shown}
    assert len(domains) > 10 and not domains & {"nuclei", "street"}


@pytest.mark.parametrize("zoom", [0.0, 0.5, 1.0])
def test_zoom_is_how_often_a_scene_is_drawn_twice_as_large(zoom, monkeypatch):
    """Kills: a zoom that is ignored, one of real images' chances, a stream that depends on what was asked before."""
    sizes = []
    monkeypatch.setattr(data, "render", lambda seed, size, domains: (sizes.append(size), render(seed, size))[1])
    stream, other = (Pictures(32, 1, (), 1.0, 3, 99, least=1, zoom=zoom) for _ in range(2))
    items = [stream[i] for i in range(40)]
    assert set(sizes) <= {32, 64} and abs(np.mean(np.array(sizes) == 64) - zoom) < 0.3
    assert (set(sizes) == {32, 64}) == (zoom == 0.5)
    assert all(item["image"].shape == (32, 32, 3) and item["masks"].shape == (1, 32, 32) for item in items)
    np.testing.assert_array_equal(other[7]["image"], items[7]["image"])
