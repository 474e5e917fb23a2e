"""Whatever people hand in gets an answer or one line: damaged files, odd records, odd prompts, odd command lines.

Each example costs at most ``readers.SECONDS`` and a bounded memory. ``by_hand.py`` goes on for longer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from readers import READERS, answer, read_folder, read_packed, record, small_predictor

from command_line import run
from minisam.checkpoints.checkpoint import save_checkpoint
from minisam.sam import random_state
from minisam_kernels import InputError
from small_models import SMALL, picture

FILES = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

# ------------------------------------------------------------------------------------------------- what may come

NUMBERS = st.one_of(
    st.integers(-3, 70),
    st.sampled_from([2**31, 2**32, -(2**63), 2**64, 10**30]),
    st.floats(allow_nan=True, allow_infinity=True),
)
LEAVES = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.text(max_size=8), st.sampled_from(["a.png", "../a.png", "PQ2"])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file cut off, or with a few places overwritten, left out or repeated."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([1, 2, 8, 64, 1 << 20])))
        piece = bytes(data[start:end])
        data[start:end] = draw(st.one_of(st.just(b""), st.just(piece + piece), st.binary(max_size=12)))
    return bytes(data)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below a JSON value."""
    keys = range(len(value)) if isinstance(value, list) else list(value) if isinstance(value, dict) else ()
    return [place for key in keys for place in [(value, key), *places(value[key])]]


@st.composite
def odd_records(draw: st.DrawFn) -> Any:
    """A record of SA-1B in which a few values are others, or gone."""
    value = record()
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(places(value)))
        if draw(st.booleans()):
            holder[key] = draw(VALUES)
        else:
            del holder[key]
        if not places(value):
            break
    return value


# ----------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("name", [name for name in READERS if name != "image"])  # images are Pillow's to read
def test_damaged_file(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """A file with a few bytes changed is read, or refused in one line."""
    if name == "torch":
        pytest.importorskip("torch")
    folder, reader = tmp_path_factory.mktemp(name), READERS[name]
    whole = {path: path.read_bytes() for path in reader.write(folder)}
    for path in whole:
        reader.read(path)

    @FILES
    @given(st.data())
    def damage(data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(whole)))
        path.write_bytes(data.draw(damaged(whole[path])))
        answer(lambda: reader.read(path), path.stat().st_size)
        path.write_bytes(whole[path])

    damage()


def test_odd_record(tmp_path: Path) -> None:
    """A record with odd values is read with masks of the image's size, or refused in one line that names its file."""
    (path,) = READERS["record"].write(tmp_path)

    @FILES
    @given(odd_records())
    def read(value: Any) -> None:
        path.write_text(json.dumps(value))
        result = answer(lambda: read_folder(path), path.stat().st_size)
        assert not isinstance(result, InputError) or path.name in str(result) or str(tmp_path) in str(result)

    read()


def test_odd_pack(tmp_path: Path) -> None:
    """A packed file whose arrays hold other numbers, or have another type, length or name."""
    from safetensors.numpy import load_file, save_file

    from minisam.checkpoints.safetensors_file import read_safetensors

    (path,) = READERS["packed"].write(tmp_path)
    arrays, notes = load_file(path), dict(read_safetensors(path)[1])

    @FILES
    @given(st.data())
    def read(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(arrays)))
        array, kind = arrays[name].copy(), data.draw(st.sampled_from(["number", "type", "length", "name"]))
        changed = {key: value for key, value in arrays.items() if key != name}
        if kind == "number":
            place = data.draw(st.integers(0, len(array) - 1))
            limits = np.iinfo(array.dtype)
            array[place] = data.draw(st.integers(limits.min, limits.max) | st.integers(0, 9))
        elif kind == "type":
            array = array.astype(data.draw(st.sampled_from(["f4", "i2", "i8", "u1"])))
        elif kind == "length":
            array = np.resize(array, data.draw(st.integers(0, 2 * len(array))))
        changed[name if kind != "name" else data.draw(st.sampled_from(["", "other"]))] = array
        save_file(changed, path, metadata=notes)
        answer(lambda: read_packed(path), path.stat().st_size)

    read()


# --------------------------------------------------------------------------------------------------------- prompts

DTYPES = st.sampled_from(["f4", "f8", "i8", "u1", "bool", "complex64", "M8[s]", "object", "U3"])
ARRAYS = st.builds(
    lambda shape, dtype, fill: np.full(shape, fill).astype(dtype),
    st.lists(st.sampled_from([0, 1, 2, 4, 16]), max_size=4).map(tuple),
    DTYPES,
    st.integers(0, 3),
)
PROMPTS = st.one_of(st.none(), ARRAYS, VALUES, st.lists(NUMBERS, min_size=4, max_size=4))
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3)
LABELS = st.lists(st.integers(-1, 3), max_size=3)


@settings(max_examples=400)
@given(
    points=POINTS | PROMPTS,
    labels=LABELS | PROMPTS,
    box=PROMPTS,
    mask=PROMPTS,
    batch=st.booleans(),
    strict=st.booleans(),
)
@pytest.mark.filterwarnings("ignore")
def test_odd_prompt(points: Any, labels: Any, box: Any, mask: Any, batch: bool, strict: bool) -> None:
    """Masks of the image's size with finite scores, or one line."""
    predictor = small_predictor()
    ask: Any = predictor.predict_batch if batch else predictor.predict
    prompts = {"point_coords": points, "point_labels": labels, "mask_input": mask, "boxes" if batch else "box": box}
    result = answer(lambda: ask(**prompts, strict=strict))
    if not isinstance(result, InputError):
        masks, scores, low = result
        assert masks.dtype == bool and masks.shape[-2:] == (24, 30) and masks.shape[:-2] == scores.shape
        assert np.isfinite(scores).all() and np.isfinite(low).all()


# ---------------------------------------------------------------------------------------------------- command lines

WORDS = [
    "image.png",
    "other.png",
    "small.safetensors",
    "none",
    ".",
    "",
    "-",
    "1,2",
    "-1,5",
    "1,2,-",
    "0,0,9,9",
    "5",
    "-1",
]
WORDS += ["0.5", "nan", "1e999", "99999999999999999999", "a=b", "masks.json", "folder/x.png"]
OPTIONS = {
    "segment": ["--point", "--box", "--mask", "--single", "-o", "--masks", "--json", "--cutout", "--checkpoint"],
    "everything": ["-o", "--points-per-side", "--pred-iou-thresh", "--box-nms-thresh", "--format", "--overlay"],
    "pack": ["-o", "--side", "--quality", "--max-mb"],
}
MODEL = ["--checkpoint", "small.safetensors"]
SENSIBLE = {  # options given later win
    "segment": ["image.png", "--point", "1,2", *MODEL],
    "everything": ["image.png", "-o", "masks.json", "--points-per-side", "2", *MODEL],
    "pack": [".", "-o", "packed.safetensors"],
}


@pytest.mark.parametrize("command", OPTIONS)
def test_odd_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """A command line is carried out, or refused in one line with exit code 2, or tells its usage."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture(12, 16)).save("image.png")
    save_checkpoint("small.safetensors", random_state(SMALL), SMALL)
    run(capsys, command, *SENSIBLE.get(command, ()))  # compiled before the clock runs

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
    @given(st.lists(st.tuples(st.sampled_from(OPTIONS[command]), st.sampled_from(WORDS)), max_size=4), st.booleans())
    def ask(words: list[tuple[str, str]], sensible: bool) -> None:
        given = [*(SENSIBLE[command] if sensible else ()), *(word for pair in words for word in pair)]
        code, _, err = answer(lambda: run(capsys, command, *given))
        assert code in (0, 1, 2)
        assert code != 2 or (err.count("\n") == 1 and err.startswith("minisam: error: ")), err

    ask()
