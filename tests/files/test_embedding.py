"""Embeddings in files: what was kept answers as before, byte for byte the same file, and any other file is one line."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import minisam
from minisam.files.embedding import NOTES
from minisam_kernels import InputError
from small_models import SMALL, picture

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "an embedding of other weights": ("minisam/files/embedding.py", 'if notes["weights"] != weights:', "if False:"),
    "notes in several texts": (
        "minisam/files/embedding.py",
        "{NOTES: text}",
        "{NOTES: text, **{str(i): text for i in range(9)}}",
    ),
    "a hash without the sizes": (
        "minisam/sam.py",
        "hashlib.sha256(json.dumps(sizes, sort_keys=True).encode())",
        "hashlib.sha256()",
    ),
    "a hash without the last weight": (
        "minisam/sam.py",
        "in sorted(self.config.shapes()):",
        "in sorted(self.config.shapes())[:-1]:",
    ),
    "an image that stays when a file is refused": (
        "minisam/predictor.py",
        """        self.reset_image()
        features, notes""",
        "        features, notes",
    ),
}

SAM = minisam.build(SMALL, seed=1)
KEEP_ALL = {"points_per_side": 3, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "output_mode": "coco_rle"}


def predictor_of(seed: int = 0, plain: bool = False) -> minisam.SamPredictor:
    predictor = minisam.SamPredictor(SAM, plain)
    predictor.set_image(picture(40, 60, seed))
    return predictor


def same(ours: Any, theirs: Any) -> None:
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    predictor_of().save_embedding("kept.safetensors")
    return Path("kept.safetensors")


@pytest.mark.parametrize("plain", [False, True])
def test_a_kept_embedding_answers_as_before(kept: Path, plain: bool) -> None:
    before, after = predictor_of(plain=plain), minisam.SamPredictor(SAM, plain)
    after.load_embedding(kept)
    assert after.is_image_set and after.original_size == (40, 60) and after.input_size == before.input_size
    same(after.predict([[9, 8]], [1]), before.predict([[9, 8]], [1]))
    kept.unlink()  # nothing is read later
    same(after.predict(box=[1, 2, 30, 40]), before.predict(box=[1, 2, 30, 40]))


def test_equal_embeddings_are_equal_files(kept: Path) -> None:
    """Kills: notes in several texts."""
    files = []
    for name in ("1.safetensors", "2.safetensors", "3.safetensors"):
        predictor_of().save_embedding(name)
        files.append(Path(name).read_bytes())
    again = minisam.SamPredictor(SAM)
    again.load_embedding(kept)
    again.save_embedding(Path("4.safetensors"))
    assert {kept.read_bytes(), *files, Path("4.safetensors").read_bytes()} == {kept.read_bytes()}
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o666 & ~umask
    with safe_open(kept, "numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("features"), predictor_of().features)
        notes = json.loads(file.metadata()[NOTES])
    assert notes["original_size"] == [40, 60] and notes["input_size"] == [43, 64] and notes["image_size"] == 64
    assert (
        notes["weights"] == SAM.weights_hash and notes["model"] == "small" and notes["format"] == 1 and notes["minisam"]
    )


def test_the_hash_is_of_all_weights_and_sizes() -> None:
    """Kills: a hash without the sizes, a hash without the last weight."""
    state = SAM.state_dict()
    assert minisam.Sam(SMALL, state).weights_hash == SAM.weights_hash and len(SAM.weights_hash) == 64
    turned = {name: np.asfortranarray(value) for name, value in reversed(state.items())}
    assert minisam.Sam(dataclasses.replace(SMALL, name="other"), turned).weights_hash == SAM.weights_hash
    hashes = {SAM.weights_hash, minisam.Sam(dataclasses.replace(SMALL, decoder_num_heads=4), state).weights_hash}
    for name in (min(state), max(state), "mask_decoder.iou_token.weight"):
        hashes.add(minisam.Sam(SMALL, state | {name: state[name] + np.float32(1e-3)}).weights_hash)
    assert len(hashes) == 5


def changed(path: Path, features: np.ndarray | None = None, tensors: Any = None, **notes: Any) -> Path:
    """The file with other features, tensors or notes."""
    with safe_open(path, "numpy") as file:
        old, text = file.get_tensor("features"), json.loads(file.metadata()[NOTES])
    tensors = {"features": old if features is None else features} if tensors is None else tensors
    save_file(tensors, "changed.safetensors", {NOTES: json.dumps(text | notes)})
    return Path("changed.safetensors")


def bytes_of(text: bytes) -> Path:
    Path("x.safetensors").write_bytes(text)
    return Path("x.safetensors")


def saved(metadata: dict[str, str] | None) -> Path:
    save_file({"features": np.zeros((1, 16, 8, 8), np.float32)}, "y.safetensors", metadata)
    return Path("y.safetensors")


FEATURES = np.zeros((1, 16, 8, 8), np.float32)
NAN = FEATURES.copy()
NAN[0, 3, 4, 5] = np.nan
WRONG: dict[str, tuple[Any, str]] = {
    "missing": (lambda kept: "nowhere.safetensors", "which is none"),
    "a folder": (lambda kept: ".", "which is none"),
    "a device": (lambda kept: "/dev/null", "which is none"),
    "no path": (lambda kept: None, "expected an embedding"),
    "a null character": (lambda kept: "a\0b", "expected"),
    "a name too long": (lambda kept: "a" * 5000, "expected"),
    "empty": (lambda kept: bytes_of(b""), "expected an embedding"),
    "text": (lambda kept: bytes_of(b"just words, no embedding at all"), "expected an embedding"),
    "cut short": (lambda kept: bytes_of(kept.read_bytes()[:-4]), "expected an embedding"),
    "cut in the header": (lambda kept: bytes_of(kept.read_bytes()[:50]), "expected an embedding"),
    "bytes more": (lambda kept: bytes_of(kept.read_bytes() + b"1234"), "expected an embedding"),
    "an array of NumPy's": (lambda kept: np.save("x.npy", FEATURES) or "x.npy", "expected an embedding"),
    "without notes": (lambda kept: saved(None), "which is none"),
    "other notes": (lambda kept: saved({"config": "{}"}), "which is none"),
    "notes that are no JSON": (lambda kept: saved({NOTES: "{"}), "expected an embedding"),
    "a list of notes": (lambda kept: saved({NOTES: "[]"}), "which is none"),
    "deep notes": (lambda kept: saved({NOTES: "[" * 99999}), "expected an embedding"),
    "too few notes": (lambda kept: saved({NOTES: '{"format": 1}'}), "expected an embedding"),
    "a later format": (lambda kept: changed(kept, format=2), "of format 1 in changed.safetensors, got 2"),
    "another model": (lambda kept: changed(kept, weights="0" * 64), "by the weights "),
    "a hash that is none": (lambda kept: changed(kept, weights=[1]), "by the weights "),
    "no features": (lambda kept: changed(kept, tensors={"feature": FEATURES}), "expected an embedding"),
    "another shape": (lambda kept: changed(kept, features=FEATURES[:, :8]), "F32 (1, 16, 8, 8)"),
    "channels last": (lambda kept: changed(kept, features=FEATURES.reshape(1, 8, 8, 16)), "F32 (1, 16, 8, 8)"),
    "half precision": (lambda kept: changed(kept, features=FEATURES.astype(np.float16)), "got F16"),
    "double precision": (lambda kept: changed(kept, features=FEATURES.astype(np.float64)), "got F64"),
    "NaN": (lambda kept: changed(kept, features=NAN), "finite, got nan in changed.safetensors"),
    "infinity": (lambda kept: changed(kept, features=FEATURES + np.float32(np.inf)), "finite, got inf"),
    "a size of null": (lambda kept: changed(kept, original_size=None), "expected original_size to hold numbers"),
    "a size of 0": (lambda kept: changed(kept, original_size=[0, 60]), "expected original_size as (H, W)"),
    "a negative size": (lambda kept: changed(kept, original_size=[-40, 60]), "expected original_size as (H, W)"),
    "half a pixel": (lambda kept: changed(kept, original_size=[40.5, 60]), "expected original_size as (H, W)"),
    "a gigantic size": (lambda kept: changed(kept, original_size=[2**40, 2**40]), "expected original_size as (H, W)"),
    "a size of text": (lambda kept: changed(kept, original_size="40"), "expected original_size to hold numbers"),
    "width first": (lambda kept: changed(kept, original_size=[60, 40]), "expected input_size (64, 43)"),
    "another input size": (lambda kept: changed(kept, input_size=[64, 64]), "expected input_size (43, 64)"),
    "no input size": (lambda kept: changed(kept, input_size=None), "expected input_size"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_one_line_and_no_image(kept: Path, name: str) -> None:
    """Kills: an embedding of other weights, an image that stays when a file is refused."""
    make, words = WRONG[name]
    path, predictor = make(kept), predictor_of(5)
    with pytest.raises(InputError) as error:
        predictor.load_embedding(path)
    message = str(error.value)
    assert words in message and message.startswith("expected ") and "\n" not in message
    assert not predictor.is_image_set and predictor.features is predictor.terms is predictor.original_size is None
    with pytest.raises(InputError, match="expected an image to be set"):
        predictor.predict([[1, 1]], [1])


def test_weights_are_no_embedding(tmp_path: Path) -> None:
    shipped = Path(minisam.__file__).parent / "weights" / "tiny.safetensors"
    with pytest.raises(InputError, match="expected an embedding as save_embedding writes it"):
        predictor_of().load_embedding(shipped)
    predictor_of().save_embedding(tmp_path / "kept.safetensors")
    for other in (minisam.build(SMALL, seed=2), minisam.build("tiny", seed=1)):
        with pytest.raises(InputError, match=r"expected an embedding by the weights .*, got those of 'small', "):
            minisam.SamPredictor(other).load_embedding(tmp_path / "kept.safetensors")


@pytest.mark.parametrize(
    "path", ["x.npy", "x", "nowhere/x.safetensors", "folder.safetensors", None, 5, b"x.safetensors"]
)
def test_where_an_embedding_cannot_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.safetensors").mkdir()
    with pytest.raises(InputError, match="expected a"):
        predictor_of().save_embedding(path)
    with pytest.raises(InputError, match="expected an image to be set"):
        minisam.SamPredictor(SAM).save_embedding("x.safetensors")
    assert os.listdir() == ["folder.safetensors"]


def test_nothing_stays_of_a_write_that_fails(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, data: bytes) -> None:
        open(self, "wb").close()
        raise OSError(28, "No space left on device")

    before = kept.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(InputError, match=r"kept\.safetensors, got: No space left"):
        predictor_of(3).save_embedding(kept)
    assert os.listdir() == [kept.name] and kept.read_bytes() == before


def test_everything_from_restored_state(kept: Path) -> None:
    """``generate_encoded`` equals ``generate`` with features that were assigned, or loaded, to any predictor of it."""
    expected = minisam.SamAutomaticMaskGenerator(SAM, **KEEP_ALL).generate(picture(40, 60))
    assert expected
    generator = minisam.SamAutomaticMaskGenerator(SAM, **KEEP_ALL)
    with pytest.raises(InputError, match="expected an image to be set"):
        generator.generate_encoded()
    generator.predictor.load_embedding(kept)
    assert generator.generate_encoded() == generator.generate_encoded(generator.predictor) == expected
    assert generator.generate(picture(40, 60, 7)) != expected == generator.generate_encoded()
    other = minisam.SamPredictor(SAM)
    other.features, other.original_size = predictor_of().get_image_embedding(), (40, 60)
    assert generator.generate_encoded(other) == expected
    other.set_image(picture(40, 60, 7))
    other.load_embedding(kept)
    assert generator.generate_encoded(other) == expected
    other.reset_image()
    with pytest.raises(InputError, match="expected an image to be set"):
        generator.generate_encoded(other)


def test_threads_that_load_and_ask(kept: Path) -> None:
    """A thread that asks meets one of the images, or none, never a part of each."""
    predictor_of(9).save_embedding("other.safetensors")
    small = minisam.SamPredictor(SAM)
    small.set_image(picture(20, 64, 4))
    small.save_embedding("small.safetensors")
    names = [str(kept), "other.safetensors", "small.safetensors"]
    expected, shared, stop, wrong = [], minisam.SamPredictor(SAM), threading.Event(), []
    for name in names:
        shared.load_embedding(name)
        expected.append(shared.predict([[9, 8]], [1]))

    def ask() -> None:
        while not stop.is_set():
            try:
                masks, _, low_res = shared.predict([[9, 8]], [1])
            except InputError as error:
                if "an image to be set" not in str(error):
                    wrong.append(str(error))
                continue
            if not any(masks.shape == m.shape and (low_res == other).all() for m, _, other in expected):
                wrong.append("a mixture")

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(60):
        shared.load_embedding(names[turn % 3])
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_copy_keeps_its_image(kept: Path) -> None:
    first = predictor_of()
    expected = first.predict([[9, 8]], [1])
    shallow, deep = copy.copy(first), copy.deepcopy(first)
    first.load_embedding(kept)
    first.set_image(picture(30, 30, 2))
    same(shallow.predict([[9, 8]], [1]), expected)
    same(deep.predict([[9, 8]], [1]), expected)
