"""Trainings without a group of domains: what each is shown, what it begins from, what its file says; it goes on."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from minisam.checkpoints.loading import load
from minisam.checkpoints.safetensors_file import read_safetensors
from minisam.experiments import left_out
from minisam.experiments.left_out import Run, main, settings
from minisam.training.settings import remaining_domains
from minisam.transfer.click_net import ClickNet
from minisam.transfer.stored_models import GROUPS, KINDS
from minisam.world import DOMAINS
from minisam_kernels import InputError
from sa1b import sa1b_folder

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "a group that is shown": ("minisam/experiments/left_out.py", "leave_out=leave_out, seed=seed", "seed=seed"),
    "a base that sees the world": (
        "minisam/experiments/left_out.py",
        "seed=run.seed, world=0.0,",
        "seed=run.seed, world=0.5,",
    ),
    "a base of another seed": (
        "minisam/experiments/left_out.py",
        'dataclasses.replace(run, group="").name',
        'dataclasses.replace(run, group="", seed=0).name',
    ),
    "paths of this machine": (
        "minisam/experiments/left_out.py",
        '"data": [Path(name).name for name in s["data"]]',
        '"data": s["data"]',
    ),
    "a base trained twice": (
        "minisam/experiments/left_out.py",
        "if not run.group and lay_out_base(run, options.models, options.work):",
        "if False:",
    ),
    "a model trained twice": (
        "minisam/experiments/left_out.py",
        'if not (options.models / f"{run.name}.safetensors").is_file()',
        "if True",
    ),
}


def test_every_domain_is_in_one_group():
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(DOMAINS)
    assert all(4 <= len(group) <= 6 for group in GROUPS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_training_is_shown(kind, tmp_path):
    """Kills: a group that is shown, a base that sees the world, a base of another seed."""
    base = settings(Run(kind, "", 2), ["photos"], tmp_path)
    base.check()
    assert (base.world, base.seed, base.init, base.steps) == (0, 2, "", 1000)
    for group, domains in GROUPS.items():
        s = settings(Run(kind, group, 2), ["photos"], tmp_path)
        s.check()
        assert set(remaining_domains(s.leave_out)) == set(DOMAINS) - set(domains)
        assert (s.world, s.steps, s.data, s.hold_out) == (0.5, 400, base.data, base.hold_out)
        assert s.init == str(tmp_path / f"{kind}-base-2" / "weights.safetensors") and s.seed not in (0, 1, 2)


def test_both_kinds_see_the_same_images(tmp_path):
    """Of a step they differ in the number of masks alone."""
    both = [settings(Run(kind, "above", 1), ["photos"], tmp_path).plain() for kind in KINDS]
    shown = ("size", "data", "world", "seed", "leave_out", "hold_out", "batch", "steps")
    assert all(both[0][name] == both[1][name] for name in shown)


@pytest.mark.slow
def test_trained_written_and_not_again(tmp_path, monkeypatch, capsys):
    """Kills: paths of this machine, a model trained twice, a base trained twice."""
    photos = sa1b_folder(tmp_path / "photos", 22)
    original, train, trained = left_out.settings, left_out.train, []

    def small(*arguments):
        return dataclasses.replace(original(*arguments), size=64, batch=2, average=0.5)

    def watched(run, *arguments):
        trained.append(run.name)
        return train(run, *arguments)

    monkeypatch.setattr(left_out, "settings", small)
    monkeypatch.setattr(left_out, "train", watched)
    options = [str(tmp_path / "models"), "--work", str(tmp_path / "work"), "--data", str(photos), "--share", "0.0025"]
    options += ["--seed", "1", "--only", "above"]
    main(options)
    names = ["sam-base-1", "sam-above-1", "clicks-base-1", "clicks-above-1"]
    assert trained == names and "sam-above-1: 1 steps" in capsys.readouterr().out
    assert sorted(path.stem for path in (tmp_path / "models").iterdir()) == sorted(names)
    for name in ("sam-above-1", "clicks-above-1"):
        path = tmp_path / "models" / f"{name}.safetensors"
        arrays, notes = read_safetensors(path)
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)} and path.stat().st_size < 3e6
        facts, s = json.loads(notes["facts"]), json.loads(notes["settings"])
        assert facts["run"] == {"kind": name[:-8], "group": "above", "seed": 1} and facts["processor_seconds"] >= 0
        assert s["data"] == ["photos"] and s["init"] == f"{name[:-8]}-base-1" and str(tmp_path) not in str(notes)
    assert load(tmp_path / "models" / "sam-above-1.safetensors").config.image_size == 64
    assert ClickNet(tmp_path / "models" / "clicks-above-1.safetensors").size == 64
    main(options)
    assert trained == names
    (tmp_path / "models" / "sam-above-1.safetensors").unlink()  # the training is done; its file comes again
    facts = (tmp_path / "work" / "sam-above-1" / "facts.json").read_text()
    main([*options, "--kind", "sam"])
    assert trained == [*names, "sam-above-1"]
    assert json.loads(read_safetensors(tmp_path / "models" / "sam-above-1.safetensors")[1]["facts"]) == json.loads(
        facts
    )
    shutil.rmtree(tmp_path / "work")  # another machine, with the stored base alone
    (tmp_path / "models" / "sam-above-1.safetensors").unlink()
    main([*options, "--kind", "sam"])
    assert trained == [*names, "sam-above-1", "sam-above-1"]
    base, _ = read_safetensors(tmp_path / "work" / "sam-base-1" / "weights.safetensors")
    stored, _ = read_safetensors(tmp_path / "models" / "sam-base-1.safetensors")
    assert all(array.dtype == np.float32 and (array == stored[name]).all() for name, array in base.items())


def test_odd_options(tmp_path):
    with pytest.raises(InputError, match="--share"):
        main([str(tmp_path), "--work", str(tmp_path), "--data", "x", "--share", "0"])
