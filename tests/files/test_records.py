"""Records in JSON: which image each belongs to, what is left out, and that no damaged one gets through."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from minisam.files import records
from minisam.files.records import decode_masks, find_images, find_pairs, find_records, read_counts, read_record, walk
from minisam_kernels import InputError
from minisam_kernels.masks import rle
from refusals import refusal

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a name that another file has": ("minisam/files/records.py", "elif image in pairs:", "elif False:"),
    "a name before the file's own": (
        "minisam/files/records.py",
        "image = _of_same_name(record, listings)\n",
        "image = named_image(record, read_record(record).file_name, listings)\n",
    ),
    "folders that are entered again": ("minisam/files/records.py", "return len(seen) > known", "return True"),
    "notes of a Mac": (
        "minisam/files/records.py",
        'not path.name.startswith("._") and path.is_file()',
        "path.is_file()",
    ),
    "folders above": ("minisam/files/records.py", 'or ".." in relative.parts', ""),
    "masks of another size": ("minisam/files/records.py", "or [*stored] != [*size]", ""),
    "run lengths that do not fill the image": (
        "minisam/files/records.py",
        "return check_counts(numbers, size).astype(np.int64)",
        "return numbers.astype(np.int64)",
    ),
}

SIZE = (4, 6)
MASK = np.zeros(SIZE, bool)
MASK[1:3, 2:5] = True
TEXT = rle.to_string(rle.rle_numpy(MASK)).decode()
LIST = rle.rle_numpy(MASK).tolist()


def record(file_name: str | None = None, **segmentation: object) -> dict:
    """A record of one mask; ``segmentation`` replaces what is right about it."""
    image = {} if file_name is None else {"file_name": file_name, "width": SIZE[1], "height": SIZE[0]}
    code = {"size": [*SIZE], "counts": TEXT} | segmentation
    return {"image": image, "annotations": [{"id": 1, "segmentation": code}]}


def put(folder: Path, *names: str, **named: str) -> None:
    """Files of these names, images and records; ``record=name``: the image that a record names."""
    for name in (*names, *(name.replace("__", "/") + ".json" for name in named)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() != ".json":
            kind = "PNG" if path.suffix.lower() not in records.ENDINGS else None
            Image.new("RGB", SIZE[::-1], "red").save(path, kind)
        else:
            path.write_text(json.dumps(record(named.get(name[:-5].replace("/", "__")))))


@pytest.mark.parametrize(
    ("files", "named", "expected"),
    [
        (["a.jpg", "a.json"], {}, ["a.jpg a.json"]),
        (["images/a.jpg", "annotations/a.json"], {}, ["images/a.jpg annotations/a.json"]),
        (["images/a.jpg", "a.json"], {}, ["images/a.jpg a.json"]),
        (["A.JPG", "A.json"], {}, ["A.JPG A.json"]),
        (["a.TIF", "b.WebP", "a.json", "b.JSON"], {}, ["a.TIF a.json", "b.WebP b.JSON"]),
        (["a.bmp", "a.json", "b.gif", "b.json"], {}, ["a.bmp a.json", "b.gif b.json"]),
        (["photo.jpg"], {"masks": "photo.jpg"}, ["photo.jpg masks.json"]),
        (["photo.PNG", "other.png"], {"masks": "photo.PNG"}, ["photo.PNG masks.json"]),
        (["images/p.png"], {"masks": "p.png"}, ["images/p.png masks.json"]),
        (["images/p.png"], {"annotations__m": "p.png"}, ["images/p.png annotations/m.json"]),
        (["images/x/p.png"], {"m": "x/p.png"}, ["images/x/p.png m.json"]),
        (["x/p.png"], {"m": "x\\p.png"}, ["x/p.png m.json"]),
        (["p.png"], {"m": "C:\\photos\\p.png"}, ["p.png m.json"]),
        (["p.png"], {"m": "/home/me/p.png"}, ["p.png m.json"]),
        (["p.jpg", "p.png"], {"p": "p.png"}, ["p.png p.json"]),
        (["a\u0308.jpg", "\u00e4.json"], {}, ["a\u0308.jpg \u00e4.json"]),
        (["a\u0308.jpg"], {"m": "\u00e4.jpg"}, ["a\u0308.jpg m.json"]),
        (["p.jpg", "p.png", "p.json"], {}, ["p.jpg p.json"]),
        (["p.jpg"], {"p": "p.png"}, ["p.jpg p.json"]),
        (["a.jpg", "b.jpg"], {"a": "b.jpg"}, ["a.jpg a.json"]),
        (["p.jpg", "._p.jpg", "._p.json", "p.json"], {}, ["p.jpg p.json"]),
        (["p.jpg", "p.json"], {"a": "p.jpg", "z": "p.jpg"}, ["p.jpg p.json"]),
        (["p.jpg"], {"z": "p.jpg", "m": "p.jpg"}, ["p.jpg m.json"]),
        (["images/p.jpg", "p.json", "annotations/p.json"], {}, ["images/p.jpg annotations/p.json"]),
        (["1/images/a.jpg", "1/annotations/a.json", "2/a.png", "2/a.json"], {},
         ["1/images/a.jpg 1/annotations/a.json", "2/a.png 2/a.json"]),
    ],
)  # fmt: skip
def test_which_image_a_record_belongs_to(tmp_path, files, named, expected):
    """Kills: a name that another file has, a name before the file's own."""
    put(tmp_path, *files, **named)
    pairs = find_records(tmp_path)
    assert [" ".join(path.relative_to(tmp_path).as_posix() for path in pair) for pair in pairs] == expected


@pytest.mark.parametrize(
    "name",
    ["../secret.jpg", "../../secret.jpg", "x/../../secret.jpg", "..\\secret.jpg", "/etc/secret.jpg", "", ".", ".."]
    + ["secret.jpg\0", "a" * 5000 + ".jpg", "http://example.org/secret.jpg", "a\0/secret.gif"]
    + ["a" * 5000 + "/secret.gif", "~/secret.jpg", "file:///secret.jpg", "secret.jpg/", "SECRET.JPG"],
)  # fmt: skip
def test_a_name_never_leads_out_of_the_folder(tmp_path, name):
    """Kills: folders above."""
    put(tmp_path, "secret.jpg", "set/a.jpg", "set/a.json", "set/x/other.jpg", set__m=name)
    assert find_records(tmp_path / "set") == [(tmp_path / "set" / "a.jpg", tmp_path / "set" / "a.json")]
    assert "1 JSON files without their image (m.json)" in find_pairs(tmp_path / "set").describe()


def test_what_is_left_out_is_said(tmp_path):
    """Numbers, reasons and first names, in one line; nothing to say where all is used. Kills: notes of a Mac."""
    put(
        tmp_path,
        "._a.jpg",
        "._a.json",
        "._j.json",
        "a.jpg",
        "a.json",
        "b.jpg",
        "c.jpg",
        "d.jpg",
        "e.png",
        "f.json",
        "masks/a.png",
        again="a.jpg",
    )
    assert find_pairs(tmp_path).pairs == [(tmp_path / "a.jpg", tmp_path / "a.json")]
    (tmp_path / "g.jpg").touch()
    (tmp_path / "h.json").touch()
    (tmp_path / "i.json").write_text('{"scripts": {}}')
    (tmp_path / "notes.txt").write_text("of no interest")
    assert find_pairs(tmp_path).describe() == (
        f"{tmp_path}: left out 2 empty files (g.jpg, h.json), "
        "1 JSON files of an image that has another one (again.json), "
        "1 JSON files without their image (f.json), 1 JSON files that are no records of an image (i.json), "
        "4 images without a JSON file (b.jpg, c.jpg, d.jpg, …)"
    )
    put(tmp_path / "whole", "a.jpg", "a.json")
    assert find_pairs(tmp_path / "whole").describe() == ""
    put(tmp_path / "none", "a.jpg", "b.json")
    text = refusal(find_records, tmp_path / "none")
    assert "got none (left out 1 JSON files without their image (b.json), 1 images without a JSON file (a.jpg))" in text
    assert [image.name for image, _ in find_images(tmp_path / "none").pairs] == ["a.jpg"]


def test_a_folder_linked_to_itself(tmp_path):
    """Kills: folders that are entered again."""
    put(tmp_path, "a.jpg", "a.json")
    (tmp_path / "itself").symlink_to(tmp_path)
    assert len(list(walk(tmp_path))) == 2


def test_linked_folders_are_followed_once(tmp_path):
    """A set behind links, circles, dangling links."""
    put(tmp_path / "disk", "images/a.jpg", "annotations/a.json")
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("images", "annotations"):
        (folder / name).symlink_to(tmp_path / "disk" / name)
    for name in ("x", "y", "z"):
        (folder / name).symlink_to(folder)
        (tmp_path / "disk" / "images" / name).symlink_to(folder)
    (folder / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    (folder / "gone.json").symlink_to(tmp_path / "nothing.json")
    (folder / "one").symlink_to(folder / "two")
    (folder / "two").symlink_to(folder / "one")
    assert find_records(folder) == [(folder / "images" / "a.jpg", folder / "annotations" / "a.json")]
    assert len(list(walk(folder))) == 2 and len(find_images(folder).pairs) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_what_is_no_file_is_not_read(tmp_path):
    """A pipe would be waited for, a folder may be called anything."""
    put(tmp_path, "a.jpg", "a.json")
    os.mkfifo(tmp_path / "b.json")
    (tmp_path / "c.json").mkdir()
    (tmp_path / "d.jpg").mkdir()
    assert len(find_records(tmp_path)) == 1


@pytest.mark.parametrize("name", ["nowhere", "a.jpg", "x" * 5000, "null\0"])
def test_no_folder(tmp_path, name):
    put(tmp_path, "a.jpg")
    assert "that can be read" in refusal(find_records, tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(tmp_path, encoding):
    put(tmp_path, "ä.jpg")
    (tmp_path / "m.json").write_bytes(json.dumps(record("ä.jpg"), ensure_ascii=False).encode(encoding))
    assert find_records(tmp_path) == [(tmp_path / "ä.jpg", tmp_path / "m.json")]
    assert read_record(tmp_path / "m.json").file_name == "ä.jpg"


NOT_RECORDS = {
    "nothing": "",
    "broken off": json.dumps(record())[:-9],
    "a list": "[]",
    "null": "null",
    "a number": "3",
    "a text": '"annotations"',
    "NaN": "NaN",
    "an endless number": "1" * 5000,
    "no annotations": "{}",
    "annotations null": '{"annotations": null}',
    "annotations as a number": '{"annotations": 3}',
    "annotations as a table": '{"annotations": {"a": 1}}',
    "annotations of numbers": '{"annotations": [1, 2]}',
    "annotations of null": '{"annotations": [null]}',
    "a box alone": '{"annotations": [{"bbox": [1, 2, 3, 4]}]}',
    "polygons": '{"annotations": [{"segmentation": [[0, 0, 3, 0, 3, 3]]}]}',
    "segmentation null": '{"annotations": [{"segmentation": null}]}',
    "segmentation as text": '{"annotations": [{"segmentation": "abc"}]}',
    "of several images": '{"images": [{"file_name": "a.jpg"}, {"file_name": "b.jpg"}], "annotations": []}',
    "of no image": '{"images": [], "annotations": []}',
    "deep lists": "[" * 100_000,
    "deep tables": '{"annotations":' * 20_000,
    "no UTF-8": b'{"annotations": ["\xff\xfe\xfa"]}',
    "not JSON": "\x89PNG",
}


@pytest.mark.parametrize("text", NOT_RECORDS.values(), ids=NOT_RECORDS)
def test_what_is_no_record(tmp_path, text):
    """One line that names the file; beside no image of its name it is left out."""
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert "a.json" in refusal(read_record, path)
    put(tmp_path, "b.jpg", "b.json")
    assert len(find_records(tmp_path)) == 1 and "(a.json)" in find_pairs(tmp_path).describe()


def test_cocos_form_of_one_image(tmp_path):
    """Its list of images names it."""
    put(tmp_path, "p.jpg")
    whole = record()
    (tmp_path / "coco.json").write_text(json.dumps(whole | {"images": [{"id": 1, "file_name": "p.jpg"}]}))
    assert find_records(tmp_path) == [(tmp_path / "p.jpg", tmp_path / "coco.json")]


def test_a_record_has_a_largest_size(tmp_path, monkeypatch):
    """It is not even opened."""
    put(tmp_path, "a.jpg", "a.json")
    monkeypatch.setattr(records, "MAX_BYTES", 20)
    assert "of at most 20" in refusal(read_record, tmp_path / "a.json")


GOOD = {
    "text": TEXT,
    "bytes": TEXT.encode(),
    "a list": LIST,
    "empty runs": [0, 0, *LIST],
    "an empty mask": [24],
    "a full mask": [0, 24],
}


@pytest.mark.parametrize("counts", GOOD.values(), ids=GOOD)
def test_forms_of_run_lengths(counts):
    code = {"size": [4, 6], "counts": counts}
    mask = decode_masks([{"segmentation": code}], SIZE, Path("a.json"))
    expected = {"an empty mask": np.zeros(SIZE), "a full mask": np.ones(SIZE)}
    name = next(name for name, value in GOOD.items() if value == counts and type(value) is type(counts))
    np.testing.assert_array_equal(mask, [expected.get(name, MASK)])


BAD = {
    "too short": {"counts": LIST[:-1]},
    "too long": {"counts": [*LIST, 1]},
    "nothing": {"counts": []},
    "no counts": {"counts": None},
    "negative": {"counts": [-1, 25]},
    "negative at the end": {"counts": [*LIST, 5, -5]},
    "floats": {"counts": [float(count) for count in LIST]},
    "NaN": {"counts": [float("nan"), 24]},
    "true and false": {"counts": [True, False]},
    "texts": {"counts": ["24"]},
    "lists": {"counts": [[24]]},
    "uneven lists": {"counts": [[24], 1, [2]]},
    "beyond 64 bits": {"counts": [2**64, 24]},
    "that wrap to the sum": {"counts": [2**63 - 1, 2**63 - 1, 26]},
    "a table": {"counts": {"0": 24}},
    "a number": {"counts": 24},
    "text too short": {"counts": TEXT[:-1]},
    "text too long": {"counts": TEXT + "1"},
    "text broken off": {"counts": TEXT[:-1] + chr(ord(TEXT[-1]) + 32)},
    "text with a letter outside": {"counts": TEXT[:-1] + "~"},
    "text with half a character": {"counts": "\ud800"},
    "text beyond ASCII": {"counts": "ä" + TEXT},
    "an empty text": {"counts": ""},
    "a negative number as text": {"counts": rle.to_string([0]).decode() + "O"},
    "endless text": {"counts": "o" * 1000},
    "turned": {"size": [6, 4]},
    "another size": {"size": [4, 7]},
    "no size": {"size": None},
    "one number": {"size": [24]},
    "three numbers": {"size": [4, 6, 1]},
    "floats as size": {"size": [4.0, 6.0]},
    "texts as size": {"size": ["4", "6"]},
    "size as text": {"size": "46"},
    "size true": {"size": [True, 24], "counts": [24]},
    "size 0": {"size": [0, 0], "counts": []},
    "a huge size": {"size": [10**9, 10**9]},
    "beyond 64 bits as size": {"size": [2**70, 2**70]},
    "negative size": {"size": [-4, -6]},
    "NaN as size": {"size": [float("nan"), 6]},
}


@pytest.mark.parametrize("wrong", BAD.values(), ids=BAD)
def test_run_lengths_that_do_not_fit(tmp_path, wrong):
    """The line names the file and the annotation.

    Kills: masks of another size, run lengths that do not fill the image.
    """
    (tmp_path / "a.json").write_text(json.dumps(record(**wrong)))
    annotations = read_record(tmp_path / "a.json").annotations
    assert "annotation 0 of" in refusal(decode_masks, annotations, SIZE, tmp_path / "a.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["size", "counts", "x"]), inner),
    max_leaves=8,
)


@given(size=st.just([4, 6]) | json_values, counts=json_values | st.lists(st.integers(-3, 12)) | st.text("01234O_o"))
@settings(max_examples=150)
def test_any_segmentation(size, counts):
    """Law: a mask of the image's size whose runs fill it, or an ``InputError``."""
    try:
        runs = read_counts({"size": size, "counts": counts}, SIZE)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert runs.dtype == np.int64 and (runs >= 0).all() and runs.sum() == 24
        assert rle.decode(runs, SIZE).shape == SIZE


@given(values=json_values, edits=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json(tmp_path, values, edits):
    """Law: whatever stands in a file, annotations or an ``InputError``; and the folder can be searched."""
    text = bytearray(json.dumps(record() | {"image": values} if edits else values).encode())
    for at, byte in edits:
        text[at % len(text)] = byte
    put(tmp_path, "b.jpg", "b.json")
    (tmp_path / "a.json").write_bytes(text)
    assert len(find_records(tmp_path)) >= 1
    try:
        decode_masks(read_record(tmp_path / "a.json").annotations, SIZE, tmp_path / "a.json")
    except InputError as error:
        assert "\n" not in str(error)


def test_one_function_uses_pycocotools():
    """It reads run lengths unchecked; ours does not. It fills polygons, from checked numbers."""
    root = Path(records.__file__).parents[1]
    files = [*root.rglob("*.py"), *(root.parent / "kernels" / "minisam_kernels").rglob("*.py")]
    assert len(files) > 100
    pattern = re.compile(r"(import|from|\") ?pycocotools")
    assert [path.name for path in files if pattern.search(path.read_text(encoding="utf-8"))] == ["labelled.py"]
