"""Checkpoints as people have them: wrapped, with prefixes, among other things of which none is run."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import enum
import fractions
import os
import pathlib
import pickle
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file as save_torch_safetensors

import minisam
from minisam.checkpoints.checkpoint import fit_state, infer_config, read_checkpoint, to_hugging_face
from minisam.sam import random_state
from minisam_kernels import InputError
from refusals import refusal
from small_models import SMALL

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "only the first prefix is left out": (
        "minisam/checkpoints/names.py",
        'r"(?:^|\\.)(?=(?:image_encoder',
        'r"^(?:\\w+\\.)?(?=(?:image_encoder',
    ),
    "the last of two models": (
        "minisam/checkpoints/names.py",
        "if short in stripped and not _same",
        "if 0 and not _same",
    ),
    "the average before the model": (
        "minisam/checkpoints/torch_file.py",
        "*others = plain or models",
        "*others = models",
    ),
    "two models pass for one": ("minisam/checkpoints/torch_file.py", "!= _tensors(weights)]", "is None]"),
    "attacks are names like others": ("minisam/checkpoints/pickle_program.py", "& ATTACKS", "& set()"),
    "NaN is a weight": ("minisam/checkpoints/checkpoint.py", "    check_finite(fitted)\n", ""),
    "a sum that overflows is infinity": (
        "minisam/checkpoints/checkpoint.py",
        "int(np.count_nonzero(~np.isfinite(state[name])))",
        "1",
    ),
}

STATE = random_state(SMALL, seed=1)
TORCH = {name: torch.from_numpy(value.copy()) for name, value in STATE.items()}
FIRST, *_ = STATE


def assert_reads(path):
    fitted = fit_state(SMALL, read_checkpoint(path))
    for name, value in STATE.items():
        np.testing.assert_array_equal(fitted[name], value, err_msg=name)


PREFIXES = [
    "module.", "_orig_mod.", "sam.", "model.", "module._orig_mod.", "_orig_mod.module.", "model.sam.", "net.",
    "sam_model.", "state_dict.model.", "_fsdp_wrapped_module.", "student.backbone.", "model.model.model.",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes(tmp_path, prefix, kind):
    """Kills: only the first prefix is left out."""
    state = {prefix + name: value for name, value in TORCH.items()}
    path = tmp_path / f"w.{kind}"
    torch.save(state, path) if kind == "pth" else save_torch_safetensors(state, path)
    assert_reads(path)


def test_prefixes_inside_of_names_and_of_one_part(tmp_path):
    """As ``torch.compile(sam.image_encoder)`` or a parallel decoder name them; one part alone may have a prefix."""
    replacements = [("image_encoder.", "image_encoder._orig_mod."), ("mask_decoder.", "mask_decoder.module.")]
    replacements += [
        (".blocks.0.", ".blocks.0._checkpoint_wrapped_module."),
        ("prompt_encoder.", "sam.prompt_encoder."),
    ]
    for old, new in replacements:
        torch.save({name.replace(old, new): value for name, value in TORCH.items()}, tmp_path / "w.pth")
        assert_reads(tmp_path / "w.pth")


def test_prefixes_before_the_names_of_transformers(tmp_path):
    theirs = {f"model.{name}": torch.from_numpy(value.copy()) for name, value in to_hugging_face(STATE).items()}
    save_torch_safetensors(theirs, tmp_path / "w.safetensors")
    assert_reads(tmp_path / "w.safetensors")


WRAPPERS = [
    "state_dict", "model_state_dict", "model_state", "model", "ema", "params", "network", "net", "sam", "weights",
    "model/state_dict", "checkpoint/model/params", "ema/module", "student", "0",
]  # fmt: skip


def wrap(state, wrapper, **more):
    for key in reversed(wrapper.split("/")):
        state = {key: state, **more}
    return state


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers(tmp_path, wrapper):
    torch.save(wrap(TORCH, wrapper), tmp_path / "w.pth")
    assert_reads(tmp_path / "w.pth")
    prefixed = {"module." + name: value for name, value in TORCH.items()}
    torch.save(wrap(prefixed, wrapper, epoch=3, args={"lr": 1.0}, best=torch.tensor(0.5)), tmp_path / "w.pth")
    assert_reads(tmp_path / "w.pth")


def test_parts_in_dicts_of_their_own(tmp_path):
    parts = {}
    for name, value in TORCH.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = value
    torch.save({"model": parts}, tmp_path / "w.pth")
    assert_reads(tmp_path / "w.pth")
    torch.save((TORCH, {"lr": 1}), tmp_path / "w.pth")
    assert_reads(tmp_path / "w.pth")


def test_two_models_in_one_file(tmp_path):
    """The model before its average; the same one twice is one; of two that differ both are named.
    Kills: the average before the model, two models pass for one."""
    other = {name: value + 1 for name, value in TORCH.items()}
    for key in ("ema", "model_ema", "ema_state_dict", "teacher", "shadow"):
        for content in ({key: other, "model": TORCH}, {"model": TORCH, key: other}):
            torch.save(content, tmp_path / "w.pth")
            assert_reads(tmp_path / "w.pth")
    torch.save({"model": TORCH, "best": TORCH, "copy": {"again": TORCH}}, tmp_path / "w.pth")
    assert_reads(tmp_path / "w.pth")
    for keys in (("model", "best"), ("ema_1", "ema_2"), ("state_dict", "network")):
        torch.save(dict(zip(keys, (TORCH, other))), tmp_path / "w.pth")
        text = refusal(read_checkpoint, tmp_path / "w.pth")
        assert all(key in text for key in keys) and "two" in text


def test_two_models_by_prefix(tmp_path):
    """Of a student and a teacher beside it no one is taken silently. Kills: the last of two models."""
    for one, two in (("student.", "teacher."), ("", "module."), ("model.", "ema.")):
        state = {one + name: value for name, value in TORCH.items()}
        torch.save(state | {two + name: value + 1 for name, value in TORCH.items()}, tmp_path / "w.pth")
        text = refusal(read_checkpoint, tmp_path / "w.pth")
        assert one + FIRST in text and two + FIRST in text
        torch.save(state | {two + name: value for name, value in TORCH.items()}, tmp_path / "w.pth")
        assert_reads(tmp_path / "w.pth")  # a part that a module holds twice


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("image_encoder.pos_embed", "image_encoder.pos_embedding"),
        ("image_encoder.", "encoder."),
        ("mask_decoder.iou_token", "mask_decoder.iou_tokens"),
        (".norm1.", ".ln1."),
        ("mask_decoder.", "decoder."),
        ("attn.qkv", "attention.qkv"),
        ("prompt_encoder.", "prompt-encoder."),
        (".weight", ".kernel"),
        ("lin1", "fc1"),
        ("image_encoder.blocks.", "image_encoder.layers."),
    ],
)
def test_other_names_are_shown_beside_the_wanted_ones(tmp_path, old, new):
    torch.save({name.replace(old, new): value for name, value in TORCH.items()}, tmp_path / "w.pth")
    with pytest.raises(InputError) as error:
        fit_state(SMALL, read_checkpoint(tmp_path / "w.pth"))
    wrong = next(name for name in STATE if old in name)
    assert f"{wrong.replace(old, new)} is near {wrong}" in str(error.value)
    assert "missing" in str(error.value) and "extra" in str(error.value) and len(str(error.value)) < 1200


def test_a_model_of_other_names_is_named(tmp_path):
    torch.save({"encoder.patch_embed.proj.weight": torch.zeros(3), "head.weight": torch.zeros(2)}, tmp_path / "w.pth")
    text = refusal(minisam.load, tmp_path / "w.pth", most=1200)
    assert "encoder.patch_embed.proj.weight, head.weight" in text
    assert "image_encoder.patch_embed.proj.weight is near encoder.patch_embed.proj.weight" in text and "w.pth" in text


def test_numbers_of_the_preprocessing_are_no_weights(tmp_path):
    mean = {"pixel_mean": torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)}
    mean["pixel_std"] = torch.tensor([58.395, 57.12, 57.375]).view(-1, 1, 1)
    torch.save(TORCH | mean, tmp_path / "w.pth")
    assert_reads(tmp_path / "w.pth")
    torch.save(TORCH | {"pixel_mean": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="1 extra: pixel_mean"):
        fit_state(SMALL, read_checkpoint(tmp_path / "w.pth"))


# ------------------------------------------------------------------------------------------------- what is beside


class Colour(enum.Enum):
    RED = 1


class Config:
    """A class of a module that is not there when the file is read."""

    def __init__(self, value):
        self.value = value

    def __reduce_ex__(self, protocol):
        return Config, (self.value,), {"more": self.value}


class Slots:
    __slots__ = ("a",)

    def __setstate__(self, state):
        raise AssertionError("a method of the file's was run")

    def __getstate__(self):
        return {"a": 1}


class NewArguments(dict):
    def __getnewargs_ex__(self):
        return (), {}


def optimiser_state():
    layer = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(3)).sum().backward()
    optimiser.step()
    return optimiser.state_dict()


INERT = {
    "numpy scalars": [np.float32(3), np.float64(0.1), np.int64(7), np.bool_(True), np.str_("x"), np.complex64(1j)],
    "numpy arrays": {"losses": np.arange(1000.0), "names": np.array(["a", "b"]), "any": np.array([None, {}], object)},
    "numpy's own": [np.dtype("float32"), np.random.default_rng(0), np.random.RandomState(0), np.datetime64("2020-01")],
    "namespace": argparse.Namespace(lr=1e-3, name="run", nested=argparse.Namespace(x=[1, 2])),
    "simple namespace": types.SimpleNamespace(a=1),
    "ordered": collections.OrderedDict(a=collections.OrderedDict(b=1)),
    "defaultdict": collections.defaultdict(list, {"a": [1]}),
    "counter": collections.Counter("hello"),
    "deque": collections.deque([1, 2], maxlen=5),
    "dates": [datetime.datetime(2024, 1, 1), datetime.date(2024, 1, 1), datetime.timedelta(1), datetime.UTC],
    "torch's": [torch.Size([1, 2]), torch.float32, torch.device("cpu"), torch.Generator().get_state(), torch.strided],
    "odd tensors": [torch.zeros(2, dtype=torch.complex64), torch.eye(2).to_sparse(), torch.zeros(3, device="meta"),
                             torch.zeros(2, dtype=torch.uint16), torch.zeros(2, dtype=torch.float8_e4m3fn)],
    "paths": [pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("c:/a"), pathlib.Path("here")],
    "sets": [{1, 2}, frozenset({3}), set(), {"a": {1}}],
    "numbers": [3 + 4j, 2**70, -(2**200), 1e300, float("nan"), float("inf"), True, None, decimal.Decimal("1.5"),
                fractions.Fraction(1, 3), -1, 2**31, 10**400],
    "bytes": [b"abc", bytearray(b"abc"), b"x" * 300, b"y" * 70_000, memoryview(b"z").tobytes()],
    "texts": ["", "é" * 300, "🦔", "a" * 70_000, "line\nline"],
    "ranges": [range(3), slice(1, 2), Ellipsis, NotImplemented],
    "functions": [len, np.sum, torch.relu, torch.nn.functional.gelu, collections.OrderedDict, int, getattr],
    "enumerations": [Colour.RED, Colour],
    "own classes": [Config(1), Config(Config([Config({})])), Slots(), NewArguments(a=1)],
    "modules": torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.GELU()),
    "optimiser": optimiser_state(),
    "schedule": torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.zeros(1)]), 1).state_dict(),
    "keys": {1: 2, None: 3, (1, 2): 4, 1.5: 5, b"x": 6, "image_encoder": 7, frozenset(): 8},
    "errors": [ValueError("x"), KeyError("y")],
    "history": [{"epoch": i, "loss": np.float64(i), "iou": 0.1 * i} for i in range(1000)],
    "a tuple of tuples": ((1, (2, (3, (4, (5, (6,)))))), {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}),
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("what", INERT)
def test_objects_beside_the_weights(tmp_path, what, protocol):
    beside = INERT[what]
    content = {"before": beside, "model": {"module." + name: value for name, value in TORCH.items()}, "after": beside}
    torch.save(content, tmp_path / "w.pth", pickle_protocol=protocol)
    assert_reads(tmp_path / "w.pth")
    torch.save({**TORCH, "beside": beside, "epoch": torch.tensor(3)}, tmp_path / "w.pth", pickle_protocol=protocol)
    assert_reads(tmp_path / "w.pth")


def test_classes_that_are_not_installed(tmp_path):
    """The file is read where its module does not exist, and nothing of it is imported."""
    module = types.ModuleType("a_module_of_somebody")
    for name in ("Setting", "State"):
        setattr(module, name, type(name, (), {"__module__": module.__name__, "__qualname__": name}))
    sys.modules[module.__name__] = module
    try:
        setting = module.Setting()
        setting.state, setting.values = module.State(), [1, {"a": b"b"}]
        torch.save({"model": TORCH, "setting": setting}, tmp_path / "w.pth")
    finally:
        del sys.modules[module.__name__]
    assert_reads(tmp_path / "w.pth")
    torch.save({"model": TORCH, "p": torch.nn.Parameter(torch.ones(2))}, tmp_path / "w.pth")
    assert_reads(tmp_path / "w.pth")


def test_parameters_and_tensors_with_attributes(tmp_path):
    parameters = {name: torch.nn.Parameter(value) for name, value in TORCH.items()}
    parameters[FIRST].tag = "x"
    tensors = {name: value.clone() for name, value in TORCH.items()}
    tensors[FIRST].tag = "x"
    for state in (parameters, tensors):
        torch.save(state, tmp_path / "w.pth")
        assert_reads(tmp_path / "w.pth")


# ----------------------------------------------------------------------------------------------------- what would run


class Call:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def calls(sentinel):
    command, code = f"touch {sentinel}", f"open({str(sentinel)!r}, 'w')"
    yield True, Call(os.system, command)
    yield True, Call(os.mkdir, str(sentinel))
    yield True, Call(subprocess.call, ["touch", str(sentinel)])
    yield True, Call(eval, code)
    yield True, Call(exec, code)
    yield True, Call(open, str(sentinel), "w")
    yield True, Call(compile, code, "x", "exec")
    yield True, Call(__import__, "antigravity")
    yield False, Call(pathlib.Path.touch, sentinel)  # a method's name is not among those that are known
    yield False, Call(getattr, pathlib.Path(sentinel), "touch")
    yield False, Call(print, "run")
    yield False, Call(np.save, str(sentinel), np.zeros(1))
    yield False, Call(torch.save, {}, str(sentinel))


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("number", range(13))
def test_nothing_beside_the_weights_is_run(tmp_path, capsys, number, protocol):
    """What can only be an attack refuses the file; any other call is passed over. Kills: attacks are names like
    others."""
    forbidden, call = list(calls(tmp_path / "ran"))[number]
    torch.save({"model": TORCH, "beside": [call]}, tmp_path / "w.pth", pickle_protocol=protocol)
    if forbidden:
        text = refusal(read_checkpoint, tmp_path / "w.pth")
        assert "forbidden name" in text and "nothing was run" in text
    else:
        assert_reads(tmp_path / "w.pth")
    assert sorted(os.listdir(tmp_path)) == ["w.pth"] and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "value",
    [np.zeros(3), 3, "text", [torch.zeros(1)], Config(1), None, b"bytes", torch.zeros(2, dtype=torch.complex64),
     torch.eye(2).to_sparse(), Call(print, "run"), {1, 2}],
)  # fmt: skip
def test_weights_that_are_no_tensors(tmp_path, value):
    torch.save(TORCH | {FIRST: value}, tmp_path / "w.pth")
    text = refusal(read_checkpoint, tmp_path / "w.pth")
    assert FIRST in text or "ComplexFloatStorage" in text


@pytest.mark.parametrize("content", [{}, [], (), 3, None, "text", {"model": {}}, {"a": np.zeros(3)}, torch.zeros(3),
                                     torch.nn.Linear(2, 2), Config(1), {"optimizer": optimiser_state()}])  # fmt: skip
def test_files_without_weights(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    assert "expected a dict of tensors in" in refusal(read_checkpoint, tmp_path / "w.pth")


# ----------------------------------------------------------------------------------------------------- odd tensors


def test_expanded_tensors(tmp_path):
    """A stride of 0 repeats a number; what is repeated in all has a limit."""
    state = dict(TORCH)
    for name in list(state)[::3]:
        state[name] = state[name].reshape(-1)[:1].expand(state[name].numel()).view(state[name].shape)
    torch.save(state, tmp_path / "w.pth")
    fitted = fit_state(SMALL, read_checkpoint(tmp_path / "w.pth"))
    for name, value in state.items():
        np.testing.assert_array_equal(fitted[name], value.numpy(), err_msg=name)
    a = torch.arange(3.0)
    odd = {
        "row": a.expand(4, 3),
        "column": a[:, None].expand(3, 5),
        "none": a[:0].expand(7, 0),
        "half": a.half().expand(2, 3),
    }
    odd |= {
        "bf": a.bfloat16()[1].expand(2, 2),
        "window": a.as_strided((2, 2), (1, 1)),
        "int": torch.tensor(3).expand(9),
    }
    torch.save(odd, tmp_path / "w.pth")
    for name, value in read_checkpoint(tmp_path / "w.pth").items():
        np.testing.assert_array_equal(value, odd[name].float().numpy(), err_msg=name)
    torch.save({"a": torch.zeros(1).expand(1000, 1000, 1000)}, tmp_path / "w.pth")
    assert "repeated" in refusal(read_checkpoint, tmp_path / "w.pth")
    torch.save({str(i): torch.zeros(1).expand(1000, 1000) for i in range(20)}, tmp_path / "w.pth")
    assert "repeated" in refusal(read_checkpoint, tmp_path / "w.pth")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_weights_that_are_no_numbers_are_named(tmp_path, bad, dtype):
    """Which tensor, how many. Kills: NaN is a weight."""
    state = {name: value.to(dtype) for name, value in TORCH.items()}
    name = list(state)[5]
    state[name] = state[name].clone()
    state[name].view(-1)[[0, -1]] = bad
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match=f"NaN or infinity: 2 of {state[name].numel()} in {name}$"):
        fit_state(SMALL, read_checkpoint(tmp_path / "w.pth"))


def test_large_weights_are_numbers(tmp_path):
    """Float64 beyond float32 is infinity; sums that overflow, +∞ beside −∞, are looked at one by one.
    Kills: a sum that overflows is infinity."""
    state = {name: value.copy() for name, value in STATE.items()}
    state[FIRST][...] = 3e38
    np.testing.assert_array_equal(fit_state(SMALL, state)[FIRST], state[FIRST])
    state = {name: value.astype(np.float64) for name, value in STATE.items()}
    for name in list(state)[:5]:
        state[name].reshape(-1)[0] = 1e300
    with pytest.raises(InputError, match=f"1 of {state[FIRST].size} in {FIRST}, .* and in 2 more$"):
        fit_state(SMALL, state)


# ------------------------------------------------------------------------------------------------------- the model


def test_load_finds_the_model(tmp_path):
    """``minisam.load`` of tiny's own weights as a training wraps them; then the file is overwritten and cut."""
    shipped = read_checkpoint(minisam.__path__[0] + "/weights/tiny.safetensors")
    state = {f"module.sam.{name}": torch.from_numpy(np.array(value)).half() for name, value in shipped.items()}
    path = tmp_path / "w.pth"
    torch.save({"model_state_dict": state, "args": argparse.Namespace(a=1), "optimizer": optimiser_state()}, path)
    assert infer_config(read_checkpoint(path)) == minisam.CONFIGS["tiny"]
    sam = minisam.load(path)
    before = {name: value.copy() for name, value in sam.state_dict().items()}
    path.write_bytes(b"\xff" * path.stat().st_size)
    os.truncate(path, 10)
    for name, value in sam.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_a_large_file_is_copied_where_that_is_wanted(tmp_path, monkeypatch, kind):
    """The limit is lowered to 0 bytes: without ``copy`` the arrays lie on the file, with it they do not."""
    from minisam.checkpoints import mapped

    monkeypatch.setattr(mapped, "SMALL", 0)
    path = tmp_path / f"w.{kind}"
    torch.save(TORCH, path) if kind == "pth" else save_torch_safetensors(TORCH, path)
    on_file, copied = read_checkpoint(path), read_checkpoint(path, copy=True)
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.write(b"\xff" * size)
    assert np.isnan(on_file[FIRST]).all()
    for name, value in STATE.items():
        np.testing.assert_array_equal(copied[name], value)


def test_a_deflated_archive_of_wrapped_weights(tmp_path):
    torch.save({"model": TORCH, "beside": np.arange(10)}, tmp_path / "stored.pth")
    with (
        zipfile.ZipFile(tmp_path / "stored.pth") as old,
        zipfile.ZipFile(tmp_path / "deflated.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert_reads(tmp_path / "deflated.pth")


def test_pickles_would_run_what_is_refused(tmp_path):
    """The calls of the test above are real ones: the sentinel appears when Python unpickles the first."""
    pickle.loads(pickle.dumps(next(calls(tmp_path / "ran"))[1]))
    assert (tmp_path / "ran").exists()
