"""Checkpoints: every format read back exactly, nothing in a file ever run, every damaged file one line of error."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file as save_torch_safetensors

from minisam.checkpoints import mapped
from minisam.checkpoints.checkpoint import (
    fit_state,
    infer_config,
    read_checkpoint,
    save_checkpoint,
    to_hugging_face,
    to_official,
)
from minisam.model.config import CONFIGS, SamConfig
from minisam.sam import random_state
from minisam_kernels import InputError

TINY = CONFIGS["tiny"]
SMALL = SamConfig(
    name="small",
    image_size=32,
    patch_size=8,
    encoder_embed_dim=16,
    encoder_depth=2,
    encoder_num_heads=2,
    encoder_global_attn_indexes=(1,),
    window_size=2,
    prompt_embed_dim=16,
    decoder_num_heads=2,
    decoder_mlp_dim=24,
    iou_head_hidden_dim=16,
    mask_in_chans=4,
)


def as_torch(state, dtype=torch.float32):
    return collections.OrderedDict((name, torch.tensor(value).to(dtype)) for name, value in state.items())


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(np.asarray(state[name], np.float32), np.asarray(value, np.float32), err_msg=name)


# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "ignores strides": (
        "minisam/checkpoints/torch_file.py",
        "steps = [step * storage.itemsize for step in stride]",
        "steps = None",
    ),
    "a plain Unpickler": (
        "minisam/checkpoints/torch_file.py",
        'interpret(archive.entry("data.pkl").data, archive.bytes.size)',
        "__import__('pickle').loads(archive.entry('data.pkl').data)",
    ),
    "reading other memory through offset, size or stride": (
        "minisam/checkpoints/torch_file.py",
        "        if count == 0:",
        "        return np.lib.stride_tricks.as_strided(storage[offset:], size, [4 * n for n in stride])\n"
        "        if count == 0:",
    ),
    "an image of 10¹² zeros through a stride of 0": (
        "minisam/checkpoints/torch_file.py",
        '        self.spend(max(0, count - storage.size) * 4, "of repeated numbers")\n',
        "",
    ),
}


def is_mapped(array):
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = array.base if isinstance(array, np.ndarray) else None
    return False


def one_line(error):
    text = str(error.value)
    assert text and "\n" not in text and text.startswith("expected") and "got" in text
    return text


# ------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_reads_what_torch_writes(tmp_path, monkeypatch, dtype, kind):
    state = as_torch(random_state(SMALL, seed=1), dtype)
    path = tmp_path / f"weights.{kind}"
    torch.save(state, path) if kind == "pth" else save_torch_safetensors(dict(state), path)
    read = read_checkpoint(path)
    assert_same(read, {name: value.float().numpy() for name, value in state.items()})
    assert not any(map(is_mapped, fit_state(SMALL, read).values())), "a small file is read"
    monkeypatch.setattr(mapped, "SMALL", 0)
    fitted = fit_state(SMALL, read_checkpoint(path))
    assert {array.dtype for array in fitted.values()} == {np.dtype(np.float32)}
    if dtype == torch.float32:
        assert all(is_mapped(array) for array in fitted.values()), "float32 weights are views of the file"
        with pytest.raises(ValueError, match="read-only"):
            fitted["image_encoder.pos_embed"][...] = 0


@pytest.mark.parametrize("wrap", ["model", "state_dict"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_reads_state_dicts_of_modules_and_trainings(tmp_path, wrap, protocol):
    """A module's state dict (it has ``_metadata``), parameters, numbers and texts around it, two pickle protocols."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    content = {wrap: module.state_dict(), "step": 7, "lr": 1e-3, "names": ["a", ("b", None)], "big": 2**40, "yes": True}
    torch.save(content, tmp_path / "t.pth", pickle_protocol=protocol)
    assert_same(read_checkpoint(tmp_path / "t.pth"), {k: v.numpy() for k, v in module.state_dict().items()})
    torch.save(dict(module.named_parameters()), tmp_path / "p.pth")
    assert_same(read_checkpoint(tmp_path / "p.pth"), {k: v.detach().numpy() for k, v in module.named_parameters()})


def test_reads_views_of_storages(tmp_path):
    """Transposed, strided and shared tensors keep offset and stride; empty ones work. Kills: ignores strides."""
    base = torch.arange(24, dtype=torch.float32).view(4, 6)
    half = torch.arange(24).to(torch.bfloat16).view(4, 6)
    state = {
        "t": base.T,
        "row": base[2],
        "column": base[:, 1],
        "every": base[1::2, ::3],
        "all": base,
        "half": half[1:].T,
    }
    state |= {"scalar": torch.tensor(3.0), "empty": torch.zeros(0, 5), "whole": torch.arange(5), "one": base[3, 5]}
    torch.save(state, tmp_path / "v.pth")
    read = read_checkpoint(tmp_path / "v.pth")
    for name, value in state.items():
        assert read[name].shape == tuple(value.shape)
        np.testing.assert_array_equal(read[name], value.float().numpy() if name == "half" else value.numpy())


def test_reads_a_deflated_archive(tmp_path):
    state = as_torch({"a": np.arange(1000, dtype=np.float32)})
    torch.save(state, tmp_path / "stored.pth")
    with (
        zipfile.ZipFile(tmp_path / "stored.pth") as old,
        zipfile.ZipFile(tmp_path / "deflated.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert_same(read_checkpoint(tmp_path / "deflated.pth"), {"a": np.arange(1000)})


@pytest.mark.parametrize("layout", ["model.safetensors", "pytorch_model.bin", "shards"])
def test_reads_hugging_face_folders(tmp_path, layout):
    state = random_state(SMALL, seed=2)
    theirs = {name: value.clone() for name, value in as_torch(to_hugging_face(state)).items()}
    if layout == "shards":
        names = sorted(theirs)
        parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
        for file, some in parts.items():
            save_torch_safetensors({name: theirs[name] for name in some}, tmp_path / file)
        index = {"weight_map": {name: file for file, some in parts.items() for name in some}}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    elif layout == "pytorch_model.bin":
        torch.save(theirs, tmp_path / layout)
    else:
        save_torch_safetensors(theirs, tmp_path / layout)
    assert_same(fit_state(SMALL, read_checkpoint(tmp_path)), state)


def test_names_are_those_of_transformers():
    """Our map gives exactly the names and shapes of a ``SamModel`` of the same sizes, and back."""
    transformers = pytest.importorskip("transformers")
    vision = transformers.SamVisionConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8, output_channels=16,
        global_attn_indexes=[1], window_size=2, num_pos_feats=8, mlp_dim=64,
    )  # fmt: skip
    prompt = transformers.SamPromptEncoderConfig(hidden_size=16, image_size=32, patch_size=8, mask_input_channels=4)
    decoder = transformers.SamMaskDecoderConfig(
        hidden_size=16, num_attention_heads=2, mlp_dim=24, iou_head_hidden_dim=16
    )
    config = transformers.SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    theirs = {name: tuple(value.shape) for name, value in transformers.SamModel(config).state_dict().items()}
    assert to_hugging_face(SMALL.shapes()) == theirs
    assert to_official(theirs) == SMALL.shapes()


@pytest.mark.parametrize("name", CONFIGS)
def test_names_go_there_and_back(name):
    shapes = CONFIGS[name].shapes()
    assert to_official(to_hugging_face(shapes)) == shapes
    assert to_official(shapes) == shapes
    tied = to_hugging_face(shapes)
    del tied["shared_image_embedding.positional_embedding"]
    assert to_official(tied) == shapes, "the tied array is found under its other name"


# ------------------------------------------------------------------------------------------------ configurations


@pytest.mark.parametrize("name", CONFIGS)
def test_infer_config_knows_every_model(name):
    config = CONFIGS[name]
    state = {key: np.broadcast_to(np.float32(0), shape) for key, shape in config.shapes().items()}
    assert infer_config(state) == config


def test_infer_config_reads_the_size_of_tuned_weights(tmp_path):
    larger = dataclasses.replace(TINY, image_size=512)
    state = {key: np.broadcast_to(np.float32(0), shape) for key, shape in larger.shapes().items()}
    assert infer_config(state) == larger
    save_checkpoint(tmp_path / "own.safetensors", random_state(SMALL), SMALL)
    assert infer_config(read_checkpoint(tmp_path / "own.safetensors")) == SMALL


@pytest.mark.parametrize(
    "text",
    ["", "[]", "7", "{}", '{"name": "x"}', json.dumps({**dataclasses.asdict(SMALL), "encoder_depth": 10**9}),
     json.dumps({**dataclasses.asdict(SMALL), "patch_size": -8}), json.dumps({**dataclasses.asdict(SMALL), "x": 1}),
     json.dumps({**dataclasses.asdict(SMALL), "patch_size": "8"}), "[" * 10**5],
)  # fmt: skip
def test_bad_notes_of_a_configuration(tmp_path, text):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "x.safetensors", metadata={"config": text})
    with pytest.raises(InputError) as error:
        infer_config(read_checkpoint(tmp_path / "x.safetensors"))
    one_line(error)


def test_infer_config_names_what_came():
    with pytest.raises(InputError) as error:
        infer_config({"image_encoder.patch_embed.proj.weight": np.zeros((5, 3, 8, 8))})
    assert "(5, 3, 8, 8)" in one_line(error) and "vit_h" in str(error.value)
    with pytest.raises(InputError) as error:
        infer_config({})
    one_line(error)


def test_fit_state_names_every_difference():
    state = random_state(SMALL)
    names = list(state)
    for name in names[:5]:
        del state[name]
    state["surplus"], state["evil\nname"] = np.zeros(1), np.zeros(1)
    state[names[6]] = np.zeros((1, 2, 3), np.float32)
    state[names[7]] = np.zeros(SMALL.shapes()[names[7]], np.int64)
    with pytest.raises(InputError) as error:
        fit_state(SMALL, state)
    text = one_line(error)
    assert "5 missing" in text and names[0] in text and names[2] in text and names[4] not in text
    assert "2 extra: surplus" in text and f"{names[6]} (1, 2, 3) instead of" in text and "int64" in text


def test_fit_state_makes_arrays_that_kernels_take():
    state = {name: np.asfortranarray(value.astype(np.float64)) for name, value in random_state(SMALL).items()}
    name = "image_encoder.blocks.0.attn.qkv.bias"
    crooked = np.zeros(state[name].nbytes // 2 + 1, np.uint8)[1:].view(np.float32)  # not aligned
    state[name] = crooked
    fitted = fit_state(SMALL, state)
    assert all(
        array.flags.c_contiguous and array.flags.aligned and array.dtype == np.float32 for array in fitted.values()
    )
    assert list(fitted) == list(SMALL.shapes())


# -------------------------------------------------------------------------------------------------------- saving


def test_saving(tmp_path):
    state = random_state(SMALL, seed=3)
    path = tmp_path / "own.safetensors"
    save_checkpoint(path, {name: value.astype(np.float64) for name, value in state.items()}, SMALL, {"note": "é"})
    read = read_checkpoint(path)
    assert_same(read, state)
    assert read.metadata["note"] == "é"
    old = path.read_bytes()
    with pytest.raises(InputError) as error:
        save_checkpoint(path, {"a": state["image_encoder.pos_embed"]}, SMALL)
    one_line(error)
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["own.safetensors"], "nothing else is left"
    save_checkpoint(path, read, SMALL)  # over the file that the arrays are mapped on
    assert_same(read, state)


@pytest.mark.parametrize("where", ["nowhere/x.safetensors", "x.pth", "folder.safetensors"])
def test_saving_where_it_cannot(tmp_path, where):
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(InputError) as error:
        save_checkpoint(tmp_path / where, random_state(SMALL), SMALL)
    one_line(error)
    assert os.listdir(tmp_path) == ["folder.safetensors"]


# ------------------------------------------------------------------------------------------------ hostile files


class Reduce:
    """Pickles as a call of ``function``: what a malicious checkpoint is."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def archive(path, program, entries=()):
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("archive/data.pkl", program)
        for name, content in entries:
            new.writestr(f"archive/{name}", content)
    return path


def attacks(sentinel):
    command = f"touch {sentinel}"
    code = f"open({str(sentinel)!r}, 'w')"
    yield "os.system", pickle.dumps({"a": Reduce(os.system, command)}, 2)
    yield "os.system in a newer protocol", pickle.dumps({"a": Reduce(os.system, command)}, 4)
    yield "eval", pickle.dumps(Reduce(eval, code), 2)
    yield "exec", pickle.dumps(Reduce(exec, code), 2)
    yield "subprocess", pickle.dumps(Reduce(subprocess.check_output, ["touch", str(sentinel)]), 2)
    yield (
        "nested in a dict",
        pickle.dumps(collections.OrderedDict(a=[Reduce(getattr, Reduce(__import__, "os"), "system")]), 2),
    )
    yield "torch.load", b"\x80\x02ctorch\nload\nX\x01\x00\x00\x00a\x85R."
    yield "torch.hub", b"\x80\x02ctorch.hub\nload\nX\x01\x00\x00\x00a\x85R."
    yield "posix.system", b"\x80\x02cposix\nsystem\nX" + struct.pack("<I", len(command)) + command.encode() + b"\x85R."
    yield "attribute of a permitted module", b"\x80\x02ctorch._utils\n_rebuild_tensor_v2.__globals__\n."
    yield "INST", b"(S'" + command.encode() + b"'\nios\nsystem\n."
    yield "OBJ", b"(cos\nsystem\nS'" + command.encode() + b"'\no."
    yield "NEWOBJ", b"\x80\x02csubprocess\nPopen\n(X\x05\x00\x00\x00touch]\x86\x81."
    yield "EXT1", b"\x80\x02\x82\x01."
    yield "a permitted name as a value", b"\x80\x02ccollections\nOrderedDict\n."
    yield "BUILD on a permitted name", b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x08\x00\x00\x00__code__Ns\x86b."
    yield "BUILD on a text", b"\x80\x02X\x01\x00\x00\x00aN}X\x01\x00\x00\x00aNs\x86b."
    yield "OrderedDict with arguments", b"\x80\x02ccollections\nOrderedDict\n]\x85R."
    yield "a call of a text", b"\x80\x02X\x01\x00\x00\x00a)R."
    yield "storage in place of a function", b"\x80\x02ctorch\nFloatStorage\nK\x01\x85R."
    yield "a tensor as a key", b"\x80\x02}(]K\x01u."


@pytest.mark.parametrize("number", range(len(list(attacks("x")))))
def test_nothing_is_run(tmp_path, number):
    """Kills: a plain Unpickler; a find_class that lets a module through; BUILD or REDUCE on anything."""
    sentinel = tmp_path / "ran"
    what, program = list(attacks(sentinel))[number]
    path = archive(tmp_path / "evil.pth", program)
    with pytest.raises(InputError) as error:
        read_checkpoint(path)
    assert not sentinel.exists(), what
    text = one_line(error)
    if what in ("os.system", "posix.system"):
        assert "posix.system" in text or "nt.system" in text, "the forbidden name is named"


def test_torch_itself_would_run_it(tmp_path):
    """The attack of the test above is a real one: the sentinel appears when Python unpickles it."""
    sentinel = tmp_path / "ran"
    pickle.loads(next(iter(attacks(sentinel)))[1])
    assert sentinel.exists()


def tensor_program(offset, size, stride, count=6, storage="FloatStorage"):
    """The pickle of {"a": one tensor} with numbers of our choice."""

    class Storage:
        pass

    class Pickler(pickle._Pickler):  # type: ignore[name-defined, misc]
        def persistent_id(self, thing):
            return ("storage", getattr(torch, storage), "0", "cpu", count) if isinstance(thing, Storage) else None

    import io

    from torch._utils import _rebuild_tensor_v2

    buffer = io.BytesIO()
    arguments = (Storage(), offset, size, stride, False, collections.OrderedDict())
    Pickler(buffer, 2).dump({"a": Reduce(_rebuild_tensor_v2, *arguments)})
    return buffer.getvalue()


NUMBERS = ("data/0", np.arange(6, dtype="<f4").tobytes())


def test_tensor_program_is_well_formed(tmp_path):
    path = archive(tmp_path / "x.pth", tensor_program(1, (2, 2), (2, 1)), [NUMBERS])
    np.testing.assert_array_equal(read_checkpoint(path)["a"], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "arguments",
    [(0, (7,), (1,)), (6, (1,), (1,)), (-1, (1,), (1,)), (0, (-1,), (1,)), (2, (2,), (-1,)), (0, (2, 4), (3, 1)),
     (0, (2,), (1, 1)), (0, (10**12,), (0,)), (2**62, (2,), (2**62,)), (0, (2,), "ab"), (0, None, None),
     ("0", (2,), (1,)),
     (0, (1.5,), (1,)), (0, (2, 2), (5, 1))],
)  # fmt: skip
def test_tensors_stay_inside_their_storage(tmp_path, arguments):
    """Kills: reading other memory through offset, size or stride; an image of 10¹² zeros through a stride of 0."""
    path = archive(tmp_path / "x.pth", tensor_program(*arguments), [NUMBERS])
    with pytest.raises(InputError) as error:
        read_checkpoint(path)
    one_line(error)


@pytest.mark.parametrize(
    ("program", "entries"),
    [
        (tensor_program(0, (6,), (1,), count=7), [NUMBERS]),  # fewer bytes than the storage promises
        (tensor_program(0, (6,), (1,), storage="ComplexFloatStorage"), [NUMBERS]),
        (tensor_program(0, (6,), (1,)), []),
        (tensor_program(0, (6,), (1,)), [NUMBERS, ("byteorder", "big")]),
        (pickle.dumps({"a": 1}, 2), []),
        (pickle.dumps([1, 2], 2), []),
        (b"", []),
        (b"\x80\x02", []),
        (b"\x80\x02.", []),
        (b"\x80\x02r\xff\xff\xff\xff.", []),  # a memo entry without a value
        (b"\x80\x02}r\xff\xff\xff\x7f.", []),  # a memo index that would be gigabytes as an array
    ],
)
def test_odd_archives(tmp_path, program, entries):
    path = archive(tmp_path / "x.pth", program, entries)
    with pytest.raises(InputError) as error:
        read_checkpoint(path)
    one_line(error)


def safetensors_bytes(header, numbers=b"", length=None):
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + numbers


A = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        safetensors_bytes({"a": A}, b"\0" * 7),
        safetensors_bytes({"a": A}, b"\0" * 9),
        safetensors_bytes({"a": A}, b"\0" * 8, length=10**9),
        safetensors_bytes({"a": A}, b"\0" * 8, length=2**64 - 1),
        safetensors_bytes({"a": A, "b": A}, b"\0" * 8),  # overlapping
        safetensors_bytes({"a": A, "b": {**A, "data_offsets": [16, 24]}}, b"\0" * 24),  # a hole
        safetensors_bytes({"a": {**A, "shape": [3]}}, b"\0" * 8),
        safetensors_bytes({"a": {**A, "shape": [-2]}}, b"\0" * 8),
        safetensors_bytes({"a": {**A, "shape": [2.0]}}, b"\0" * 8),
        safetensors_bytes({"a": {**A, "shape": [True, 2]}}, b"\0" * 8),
        safetensors_bytes({"a": {**A, "dtype": "F8_E4M3"}}, b"\0" * 8),
        safetensors_bytes({"a": {**A, "dtype": ["F32"]}}, b"\0" * 8),
        safetensors_bytes({"a": {**A, "data_offsets": [8, 0]}}, b"\0" * 8),
        safetensors_bytes({"a": {"dtype": "F32"}}, b"\0" * 8),
        safetensors_bytes({"a": {**A, "shape": [0, 10**30]}}),
        safetensors_bytes('{"a": 1, "a": 2}'),
        safetensors_bytes({"__metadata__": {"config": 3}}),
        safetensors_bytes({"__metadata__": []}),
        safetensors_bytes("{" + '"a":{' * 100_000),
        safetensors_bytes('{"a": ' + "[" * 100_000),
        safetensors_bytes("[]"),
        b"\x05\0\0\0\0\0\0\0{",
    ],
)
def test_damaged_safetensors(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_checkpoint(path)
    one_line(error)


def test_what_is_no_checkpoint(tmp_path):
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("hello, this is a text\n")
    (tmp_path / "short.safetensors").write_bytes(b"abc")
    torch.save({"a": torch.zeros(2)}, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as new:
        new.writestr("readme.txt", "no weights")
    (tmp_path / "folder").mkdir()
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../x.safetensors"}}')
    words = {
        "missing.pth": "does not exist", "empty.pth": "empty", "text.pth": "neither", "short.safetensors": "3 bytes",
        "legacy.pth": "older", "other.zip": "data.pkl", "folder": "model.safetensors", "index": "beside",
    }  # fmt: skip
    for name, word in words.items():
        with pytest.raises(InputError) as error:
            read_checkpoint(tmp_path / name)
        assert word in one_line(error)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of small checkpoints in each format."""
    folder = tmp_path_factory.mktemp("whole")
    state = {"a.weight": torch.arange(12.0).view(3, 4).T, "b": torch.zeros(3, dtype=torch.bfloat16)}
    torch.save(collections.OrderedDict(state), folder / "w.pth")
    save_torch_safetensors({name: value.contiguous() for name, value in state.items()}, folder / "w.safetensors")
    return {kind: (folder / f"w.{kind}").read_bytes() for kind in ("pth", "safetensors")}


def read_or_refuse(path, content):
    path.write_bytes(content)
    try:
        state = read_checkpoint(path)
    except InputError as error:
        assert "\n" not in str(error)
        return
    for array in state.values():
        float(np.asarray(array, np.float64).sum())


@given(kind=st.sampled_from(["pth", "safetensors"]), data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_truncated_and_flipped(whole, tmp_path, kind, data):
    """Law: whatever a file's bytes, it is read or it is an ``InputError``."""
    content = bytearray(whole[kind])
    if data.draw(st.booleans(), label="truncate"):
        content = content[: data.draw(st.integers(0, len(content) - 1), label="length")]
    for _ in range(data.draw(st.integers(0, 3), label="flips")):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    read_or_refuse(tmp_path / f"x.{kind}", bytes(content))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pickletools, about texts with backslashes
def test_every_flip_of_the_pickle(whole, tmp_path):
    """Each byte of ``data.pkl`` in turn becomes several others; the archive around it is whole."""
    (tmp_path / "w.pth").write_bytes(whole["pth"])
    with zipfile.ZipFile(tmp_path / "w.pth") as opened:
        names = {name.rpartition("/")[2]: opened.read(name) for name in opened.namelist() if "/data/" not in name}
        numbers = [(f"data/{n.rpartition('/')[2]}", opened.read(n)) for n in opened.namelist() if "/data/" in n]
    program, rng = names["data.pkl"], np.random.default_rng(0)
    for place in range(len(program)):
        changed = bytearray(program)
        changed[place] = rng.integers(256)
        read_or_refuse(archive(tmp_path / "y.pth", bytes(changed), numbers), (tmp_path / "y.pth").read_bytes())


MEMORY = """
import sys, os
from minisam.checkpoints.checkpoint import read_checkpoint, infer_config, fit_state
def private():  # bytes of memory of our own, mapped files left out
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) * 1024
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
import numpy as np
before = resident(), private()
state = read_checkpoint(sys.argv[1])
fitted = fit_state(infer_config(state), state)
for array in fitted.values():
    array.max()
print((resident() - before[0]) / 1e6, (private() - before[1]) / 1e6)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_one_copy(tmp_path):
    """ViT-B, 375 MB as float32, every number touched: other types become one copy, float32 only maps the file."""
    config = CONFIGS["vit_b"]
    size = sum(np.prod(shape) for shape in config.shapes().values()) * 4 / 1e6
    block = torch.randn(2**21)
    state = {}
    for name, shape in config.shapes().items():
        count = int(np.prod(shape))
        state[name] = block.repeat(-(-count // len(block)))[:count].reshape(shape).clone()
    for dtype, private_copies in ((torch.float32, 0.05), (torch.bfloat16, 1.05)):
        torch.save({name: value.to(dtype) for name, value in state.items()}, tmp_path / "b.pth")
        command = [sys.executable, "-c", MEMORY, tmp_path / "b.pth"]
        resident, private = map(
            float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        )
        mapped = size * dtype.itemsize / 4
        assert private <= private_copies * size + 12, f"{dtype}: {private:.0f} MB of its own for {size:.0f} MB"
        assert resident <= private + mapped * 1.05 + 12
