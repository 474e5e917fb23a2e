"""What a GPU needs of a training step: no wait for the device, shapes that a compiler can follow, less precision.

Without a GPU the first two are checked on the CPU: tensors without values have nothing that a step could wait for, and
torch's tracer follows the model without generating code.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from minisam.reference import ops
from minisam.training import cuda_graphs, loop, prompts, rounds
from minisam.training.autoencoder import Autoencoder
from minisam.training.distributed import Processes
from minisam.training.rounds import Interaction
from minisam.verify import device as devices
from minisam_kernels.runtime.errors import InputError
from small_trainings import PRETRAIN, SETTINGS, batch_of, begin

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "``if wrong.any()``": (
        "minisam/training/prompts.py",
        "torch.where(wrong.flatten(1).any(1)[:, None, None], wrong, truth)",
        "wrong if wrong.any() else truth",
    ),
    "``.item()``": (
        "minisam/training/prompts.py",
        "limit = 20 * size / 1024",
        "limit = 20 * size / 1024 + 0 * masks.sum().item()",
    ),
    "a rate that is a constant of the code": (
        "minisam/training/initialisation.py",
        'self.register_buffer("rate", torch.tensor(rate), persistent=False)',
        "self.rate = rate",
    ),
    "a batch or chances that stay the first ones": (
        "minisam/training/cuda_graphs.py",
        "recording.batch[key].copy_(value, non_blocking=True)",
        "pass",
    ),
    "one recording for all pauses": (
        "minisam/training/cuda_graphs.py",
        "rounds = tuple(new_points(draws.points.shape[1], draws.pause))",
        "rounds = ()",
    ),
    "figures that the next step overwrites": (
        "minisam/training/cuda_graphs.py",
        "{key: value.clone() for key, value in recording.figures.items()}",
        "recording.figures",
    ),
    "other chances of drop path": (
        "minisam/training/loop.py",
        "            self.recorder.prepare(batch, draws)\n",
        "            pass\n",
    ),
    "gradients that add up": ("minisam/training/cuda_graphs.py", "parameter.grad = None  # what", "pass  # what"),
    "gradients of another pause": (
        "minisam/training/cuda_graphs.py",
        "for parameter, gradient in recording.gradients:",
        "for parameter, gradient in next(iter(self.known.values())).gradients:",
    ),
    "a forgotten D^−½": ("minisam/reference/ops.py", "(q * q.shape[-1] ** -0.5) @ k", "q @ k"),
    "a swap of k and v": (
        "minisam/reference/ops.py",
        "F.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1), dim=-1).to(v.dtype) @ v",
        "F.softmax((q * q.shape[-1] ** -0.5) @ v.transpose(-2, -1), dim=-1).to(v.dtype) @ k",
    ),
}


@pytest.fixture
def no_constants():
    """Constants that are kept on a device must not be those without values."""
    rounds._pixel_statistics.cache_clear()
    yield
    rounds._pixel_statistics.cache_clear()


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_no_round_looks_at_a_value(precision, monkeypatch, no_constants):
    """All rounds on tensors that have shapes but no values. Kills: ``if wrong.any()``, ``.item()``, a loop."""
    settings = dataclasses.replace(SETTINGS, rounds=6, depth=1, precision=precision, drop_path=0.2)
    batch, draws = batch_of(), prompts.draw(0, 0, 4, 6)
    monkeypatch.setattr(torch.nn.init, "trunc_normal_", lambda *arguments, **how: None)  # looks, but only once
    with FakeTensorMode() as mode:
        task = Interaction.begin(settings)
        fake = {key: mode.from_tensor(value) for key, value in batch.items()}
        numbers = (mode.from_tensor(x) for x in (draws.box, draws.noise, draws.points))
        loss, figures = task(fake, prompts.Draws(*numbers, draws.pause))
        loss.backward()
        assert figures["iou_6"].shape == () and task.model.mask_decoder.iou_token.weight.grad is not None
        with pytest.raises(Exception, match="scalar"):
            loss.item()
        code = Autoencoder.begin(PRETRAIN)
        code({key: fake[key] for key in ("image", "size")}, mode.from_tensor(torch.rand(2, 4, 4)))[0].backward()


@pytest.fixture
def constants():
    """What a compiled model sets for the whole process is as before afterwards."""
    torch.compiler.reset()
    with torch._dynamo.config.patch(specialize_float=False):
        yield


@pytest.mark.slow
def test_the_model_can_be_traced_whole(constants):
    """What ``--compile`` compiles has no break in its graph, and gives the same loss."""
    batch, draws = batch_of(), prompts.draw(0, 0, 4, 3)
    plain, traced = begin(depth=2), begin(depth=2)
    traced.compile_parts(backend="eager", fullgraph=True)
    assert traced.grade is not plain.grade
    traced.compile_model(backend="eager", fullgraph=True)
    losses = [task(batch, draws)[0] for task in (plain, traced)]
    torch.testing.assert_close(*losses)
    assert traced.model.state_dict().keys() == plain.model.state_dict().keys()


def test_many_blocks_are_compiled_once_a_kind(constants):
    """More blocks than torch compiles a function for, each with another rate of drop path. Kills: a rate that is a
    constant of the code."""
    kinds = []

    def backend(graph, inputs):
        kinds.append(len(inputs))
        return graph.forward

    task = begin(depth=12, drop_path=0.4)
    task.compile_model(backend=backend, fullgraph=True)
    task.embed(batch_of())
    assert len(kinds) == 3, "windows and global, and the first block, which drops nothing"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_gpu_trains_without_waiting(tmp_path, precision):
    """A step that would wait for the device raises; the loss is that of the CPU."""
    settings = dataclasses.replace(SETTINGS, rounds=11, precision=precision)
    batch = batch_of()
    on_cpu = loop.Trainer(settings, tmp_path / "cpu").train_step(batch)
    trainer = loop.Trainer(settings, tmp_path / "gpu", Processes(torch.device("cuda")))
    with devices.float32_products():  # a pixel that TF32 turns over moves a click
        on_gpu = trainer.train_step(batch)
    assert float(on_gpu["loss"]) == pytest.approx(float(on_cpu["loss"]), rel=0.05 if precision == "bf16" else 1e-3)
    pinned = {key: value.pin_memory() for key, value in batch.items()}
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.train_step(pinned)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    trainer.save()
    assert loop.Trainer(settings, tmp_path / "gpu", Processes(torch.device("cuda"))).step == 2


PAUSES = dataclasses.replace(SETTINGS, rounds=11, steps=8, depth=2, drop_path=0.4)  # seven steps: two pauses come twice


def played(trainer):
    """Seven steps with two batches in turn: losses and figures, and how far the weights went."""
    before = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    batch = batch_of()
    other = {key: value.flip(0) for key, value in batch.items()}
    steps = [trainer.train_step(one) for one in (batch, other, other, batch, batch, other, other)]
    return steps, torch.cat([p.detach().flatten() for p in trainer.model.parameters()]) - before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
def test_a_recorded_step_is_the_step(tmp_path):
    """Steps with other images, chances and pauses, recorded and not, on a GPU."""
    settings, processes = dataclasses.replace(PAUSES, drop_path=0.0), Processes(torch.device("cuda"))
    with devices.float32_products():
        plain, way = played(loop.Trainer(settings, tmp_path / "plain", processes))
        recorded, same_way = played(loop.Trainer(settings, tmp_path / "recorded", processes, recorded=True))
    for one, other in zip(plain, recorded, strict=True):
        assert float(other["loss"]) == pytest.approx(float(one["loss"]), rel=1e-2)
    assert (same_way - way).norm() < 0.3 * way.norm()


def imitated(task):
    """A recording that runs again, and puts what comes where the first results lie."""

    def record(work, device):
        work()
        loss, figures = work()
        gradients = [(p, p.grad) for p in task.parameters() if p.grad is not None]

        def play():
            again, more = work()
            loss.copy_(again)
            for key, value in more.items():
                figures[key].copy_(value)
            for parameter, gradient in gradients:
                gradient.copy_(parameter.grad)
                parameter.grad = None  # a graph does not know of it

        return (loss, figures), play

    return record


@pytest.mark.slow
def test_a_recording_is_played_for_every_batch(tmp_path):
    """Steps with other images and chances, two pauses twice, and drop path, with a recording imitated and with none:
    the same losses, figures and weights.

    Kills: a batch or chances that stay the first ones, one recording for all pauses, gradients that add up, gradients
    of another pause, figures that the next step overwrites, other chances of drop path.
    """
    plain = loop.Trainer(PAUSES, tmp_path / "plain")
    pauses = [plain.task.draw(step, plain.processes).pause for step in range(7)]
    assert 1 < len(set(pauses)) < 6, "some come again, to be played"
    recorded = loop.Trainer(PAUSES, tmp_path / "recorded")
    recorded.recorder = cuda_graphs.Recorder(recorded.task, imitated(recorded.task))
    torch.testing.assert_close(played(recorded), played(plain))
    assert len(recorded.recorder.known) == len(set(pauses))


def test_few_rounds_have_one_recording(tmp_path):
    trainer = loop.Trainer(dataclasses.replace(PAUSES, rounds=3), tmp_path)
    trainer.recorder = cuda_graphs.Recorder(trainer.task, imitated(trainer.task))
    played(trainer)
    assert len(trainer.recorder.known) == 1


def test_a_recording_is_for_one_gpu(tmp_path):
    with pytest.raises(InputError, match="expected one process with --device cuda for --record, got 1 on cpu"):
        loop.Trainer(SETTINGS, tmp_path, recorded=True)
    with pytest.raises(InputError, match="got a pretraining"):
        loop.Trainer(PRETRAIN, tmp_path, Processes(torch.device("cuda")), recorded=True)


def test_attention_for_training_is_the_same():
    """Few tokens, with and without a gradient: two forms in torch. Kills: a forgotten D^−½, a swap of k and v."""
    q, k, v = (torch.randn(2, n, 12, dtype=torch.float64, requires_grad=True) for n in (3, 9, 9))
    trained = ops.cross_attention(q, k, v, 3)
    with torch.no_grad():
        torch.testing.assert_close(trained, ops.cross_attention(q.detach(), k.detach(), v.detach(), 3))
    assert torch.autograd.gradcheck(lambda *x: ops.cross_attention(*x, 3), (q, k, v))
