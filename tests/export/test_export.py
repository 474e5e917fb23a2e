"""``minisam export``: the ONNX files say what they take, and ONNX Runtime computes what torch and minisam compute."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import minisam
from command_line import refused, run
from minisam.checkpoints.checkpoint import save_checkpoint
from minisam.model.preprocess import normalise_and_pad
from minisam.sam import build
from small_models import SMALL

onnxruntime = pytest.importorskip("onnxruntime")
export = pytest.importorskip("minisam.export.onnx")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["small", "tiny"])
def exported(request, tmp_path_factory):
    """A model, and the sessions of its two files."""
    sam = build(SMALL, seed=3) if request.param == "small" else minisam.load("tiny")
    folder = tmp_path_factory.mktemp("onnx") / request.param
    files = export.export(sam, folder)
    assert [file.name for file in files] == ["decoder.onnx", "encoder.onnx"]
    assert sorted(os.listdir(folder)) == ["decoder.onnx", "encoder.onnx"], "nothing else stays"
    return sam, folder, *(onnxruntime.InferenceSession(folder / name) for name in (export.ENCODER, export.DECODER))


def test_equal_to_torch(exported):
    sam, folder, *_ = exported
    errors = export.check(sam, folder)
    assert set(errors) == {"image_embeddings", "low_res_masks", "iou_predictions"}
    assert max(errors.values()) < export.TOLERANCE


def test_names_and_free_axes(exported):
    sam, _, encoder, decoder = exported
    c = sam.config
    side, size, low = c.image_embedding_size, c.image_size, c.low_res_size
    described = {value.name: value.shape for s in (encoder, decoder) for value in (*s.get_inputs(), *s.get_outputs())}
    assert described == {
        "image": ["batch", "height", "width", 3],
        "image_embeddings": [1, c.prompt_embed_dim, side, side],
        "point_coords": ["prompts", "points", 2],
        "point_labels": ["prompts", "points"],
        "mask_input": ["masks", 1, low, low],
        "has_mask_input": [1],
        "low_res_masks": ["prompts", 4, low, low],
        "iou_predictions": ["prompts", 4],
    }
    assert encoder.get_outputs()[0].shape == ["batch", c.prompt_embed_dim, side, side]
    for session in (encoder, decoder):
        about = json.loads(session.get_modelmeta().custom_metadata_map["minisam"])
        assert about["image_size"] == size and about["name"] == c.name


def test_no_path_of_this_machine(exported):
    _, folder, *_ = exported
    for file in folder.iterdir():
        assert os.fsencode(Path(export.__file__).parent.parent) not in file.read_bytes(), "a stack trace stayed inside"


def test_pictures_of_any_shape(exported):
    """As the predictor does it, from uint8 pixels: batches, not square, one pixel wide."""
    sam, _, encoder, _ = exported
    size, rng = sam.config.image_size, np.random.default_rng(0)
    for shape in [(1, size, size), (3, size // 2 + 1, size), (1, size, 1)]:
        image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        got = encoder.run(None, {"image": image})[0]
        expected = np.concatenate([sam.image_encoder(normalise_and_pad(one, size)) for one in image])
        np.testing.assert_allclose(np.moveaxis(got, 1, -1), expected, atol=export.TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("prompts, points, masks", [(1, 1, 0), (5, 3, 5), (1, 7, 1), (4, 2, 1), (17, 1, 0)])
def test_prompts_of_any_number(exported, prompts, points, masks):
    """With and without a mask prompt, one for all or one each, against minisam itself."""
    sam, _, _, decoder = exported
    c, rng = sam.config, np.random.default_rng(prompts)
    features = rng.standard_normal((1, *[c.image_embedding_size] * 2, c.prompt_embed_dim)).astype(np.float32)
    coords = rng.uniform(0, c.image_size, (prompts, points, 2)).astype(np.float32)
    labels = rng.integers(-1, 4, (prompts, points)).astype(np.float32)
    mask = rng.standard_normal((masks, 1, c.low_res_size, c.low_res_size)).astype(np.float32)
    inputs = {
        "image_embeddings": np.moveaxis(features, -1, 1),
        "point_coords": coords,
        "point_labels": labels,
        "mask_input": mask,
        "has_mask_input": np.array([masks > 0], np.float32),
    }
    logits, iou = decoder.run(None, inputs)
    encoder = sam.prompt_encoder
    sparse = encoder.embed_points(coords, labels)
    dense = encoder.embed_masks(np.repeat(mask, prompts // masks, axis=0)) if masks else encoder.no_mask()
    expected = sam.mask_decoder.predict_masks(features, encoder.get_dense_pe(), sparse, dense)
    for a, b in zip((logits, iou), expected):
        np.testing.assert_allclose(a, b, atol=export.TOLERANCE * np.abs(b).max())


def test_a_wrong_number_of_masks_is_an_error(exported):
    sam, _, _, decoder = exported
    inputs = {name: value.numpy() for name, value in export.example(sam)[1].items()}
    inputs["mask_input"] = inputs["mask_input"][:2]  # of three prompts
    with pytest.raises(Exception, match="invalid index"):
        decoder.run(None, inputs)


# ---------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_checkpoint("small.safetensors", build(SMALL, seed=1).state_dict(), SMALL)
    return tmp_path


def test_the_command_writes_and_compares(exported, place, capsys, monkeypatch):
    """The graphs are those of the fixture: making them takes most of the time."""
    sam, folder, *_ = exported
    save_checkpoint("model.safetensors", sam.state_dict(), sam.config)
    monkeypatch.setattr(export, "encoder_program", lambda sam, model: Program((folder / "encoder.onnx").read_bytes()))
    monkeypatch.setattr(export, "decoder_program", lambda sam, model: Program((folder / "decoder.onnx").read_bytes()))
    code, out, _ = run(capsys, "export", "--checkpoint", "model.safetensors", "-o", "new")
    assert code == 0 and out.count("  ok\n") == 3 and "opset 20" in out
    assert sorted(os.listdir("new")) == ["decoder.onnx", "encoder.onnx"]


def test_a_difference_is_exit_code_1(place, capsys, monkeypatch):
    monkeypatch.setattr(export, "export", lambda sam, folder, tell: [])
    monkeypatch.setattr(export, "check", lambda sam, folder, tell: {"low_res_masks": 0.5})
    code, out, _ = run(capsys, "export", "--checkpoint", "small.safetensors", "-o", "new")
    assert code == 1 and "FAILED" in out


def test_progress_names_what_is_made_and_run(place, capsys, monkeypatch):
    """On a terminal, whose bar counts to its end; without the check to the second file."""
    from minisam.commands import export as command

    told: list[str] = []

    class Bar:
        def __init__(self, total, desc):
            told.append(f"{total}")

        def __enter__(self):
            return self

        def __exit__(self, *error):
            told.append("end")

        set_description = staticmethod(told.append)

        def update(self):
            told[-1] += " +"

    monkeypatch.setattr(command, "progress", Bar)
    monkeypatch.setattr(export, "encoder_program", lambda sam, model: Program())
    monkeypatch.setattr(export, "decoder_program", lambda sam, model: Program())
    monkeypatch.setattr(export, "check", lambda sam, folder, tell: tell("check decoder.onnx") or {})
    arguments = ["export", "--checkpoint", "small.safetensors", "-o", "new"]
    assert run(capsys, *arguments)[0] == 0
    assert told == ["6", "encoder.onnx +", "decoder.onnx +", "check decoder.onnx +", "end"]
    told.clear()
    assert run(capsys, *arguments, "--no-check")[0] == 0
    assert told == ["2", "encoder.onnx +", "decoder.onnx +", "end"]


def test_bad_places(place, capsys):
    assert "got the file small.safetensors" in refused(capsys, "export", "-o", "small.safetensors")
    assert "existing folder" in refused(capsys, "export", "-o", "no/such")
    assert "a model among tiny" in refused(capsys, "export", "--model", "no", "-o", "new")


def test_a_failure_leaves_nothing(place, monkeypatch):
    """Neither a new folder nor half of the files; older files stay as they were."""

    def fail(sam, model):
        raise OSError(28, "No space left on device")

    sam = build(SMALL, seed=1)
    monkeypatch.setattr(export, "decoder_program", fail)
    monkeypatch.setattr(export, "encoder_program", lambda sam, model: Program())
    with pytest.raises(minisam.InputError, match="No space left"):
        export.export(sam, "new")
    assert not Path("new").exists()
    Path("old").mkdir()
    Path("old/encoder.onnx").write_bytes(b"before")
    with pytest.raises(minisam.InputError):
        export.export(sam, "old")
    assert {path.name: path.read_bytes() for path in Path("old").iterdir()} == {"encoder.onnx": b"before"}


class Program:
    """Stands for an exported graph."""

    def __init__(self, data=b"new"):
        self.data = data

    def save(self, path, external_data):
        assert not external_data
        Path(path).write_bytes(self.data)


def test_missing_extra_is_named(place, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'minisam[bench]'" in refused(capsys, "export", "-o", "new")
