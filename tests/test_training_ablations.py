"""The table of ablations: each line trains and differs in what it says, a stopped run goes on, odd files are none."""

from __future__ import annotations

import json

import pytest

from minisam.training import ablations, loop
from minisam.training.ablations import BASE, FIGURES, VARIANTS, settings, table
from minisam_kernels import InputError
from test_training_data import sa1b_folder

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, about NumPy 2


def test_every_line_differs_in_one_thing():
    """From the base in its changes alone, and from every other line. Kills: a variant that changes nothing."""
    base, seen = settings(BASE, 0, 1000).plain(), []
    for variant in VARIANTS:
        s = settings(variant, 0, 1000, ["photos"])
        s.check()
        differ = {key for key, value in s.plain().items() if value != base[key]}
        also = {"data": variant.data, "steps": variant.pretrain}
        assert differ == set(variant.changes) | {key for key, value in also.items() if value}
        seen.append((s, variant.distinct, variant.pretrain))
    assert len(seen) == len({(str(s), distinct, pretrain) for s, distinct, pretrain in seen})


def test_a_stopped_table_goes_on(tmp_path, monkeypatch, capsys):
    """A line once made is kept; pretraining, few pictures and real ones are trained and measured. Kills: a second run
    of the same line; a line that is lost when the next one fails."""
    folder = str(sa1b_folder(tmp_path / "photos", 3))
    few = tuple(v for v in VARIANTS if v.group in ("start", "source") or v.name == "a tenth")[:3]
    monkeypatch.setattr(ablations, "VARIANTS", few)
    monkeypatch.setattr(ablations, "HOLD_OUT", 2)
    path = tmp_path / "ablations.json"
    arguments = [str(path), "--steps", "4", "--scenes", "1", "--seeds", "1", "--data", folder, "--measure", folder]
    ablations.main([*arguments, "--only", "start"])
    first = json.loads(path.read_text())["runs"]
    assert [run["name"] for run in first] == ["autoencoder first"] and first[0]["settings"]["steps"] == 3
    ablations.main(arguments)
    runs = json.loads(path.read_text())["runs"]
    assert runs[0] == first[0] and [run["name"] for run in runs] == [variant.name for variant in few]
    for run in runs:
        assert set(run["found"]) == {"world", "photos"} and set(run["found"]["world"]) == {*FIGURES, "objects"}
    assert "pictures: a tenth" in capsys.readouterr().out
    shown = (tmp_path / "README.md").read_text()
    assert (
        "4 steps" in shown and "## Photographs: photos, held out" in shown and "| start: autoencoder first |" in shown
    )
    with pytest.raises(InputError, match=r"expected 5 steps and 1 scenes in .*, got other ones"):
        ablations.main([*arguments[:2], "5", *arguments[3:]])
    with pytest.raises(InputError, match=r"expected --only among .*, got 'optimizer'"):
        ablations.main([*arguments, "--only", "optimizer"])
    path.write_text("[]")
    with pytest.raises(InputError, match="expected a report of ablations"):
        ablations.main(arguments)


def test_what_was_stopped_is_no_result(tmp_path, monkeypatch):
    """Ctrl-C within a training: the file keeps whole ones only. Kills: a half trained model that is measured."""
    path = tmp_path / "ablations.json"
    arguments = [str(path), "--steps", "2", "--scenes", "1", "--only", "base", "--seeds", "2"]
    whole, calls = loop.Trainer.run, []

    def run(self, *args, **more):
        calls.append(self)
        return whole(self, *args, **more) if len(calls) == 1 else "interrupted"

    monkeypatch.setattr(loop.Trainer, "run", run)
    with pytest.raises(KeyboardInterrupt):
        ablations.main(arguments)
    assert [run["seed"] for run in json.loads(path.read_text())["runs"]] == [0]


def test_two_at_a_time_are_the_same(tmp_path):
    """In processes of their own, the figures are those of one after the other. Kills: processes that share a seed."""
    found = []
    for count in ("1", "2"):
        path = tmp_path / count / "ablations.json"
        path.parent.mkdir()
        arguments = [str(path), "--steps", "2", "--scenes", "1", "--only", "base", "--seeds", "2"]
        ablations.main([*arguments, "--processes", count])
        runs = sorted(json.loads(path.read_text())["runs"], key=lambda run: run["seed"])
        found.append([(run["seed"], run["found"]) for run in runs])
    assert found[0] == found[1] and [seed for seed, _ in found[0]] == [0, 1]


def test_the_table_shows_means_and_spread():
    """Two seeds: the mean, ± half of what lies between them. Kills: a deviation over n − 1 of two."""
    runs = []
    for seed, value in ((0, 0.4), (1, 0.5)):
        found = {"world": dict.fromkeys(FIGURES, value)}
        runs.append({"group": "rounds", "name": "3", "seed": seed, "processor_seconds": 90, "found": found})
    lines = table({"runs": runs}).splitlines()
    assert len(lines) == 3 and lines[2].startswith("| rounds: 3 | 0.450 ± 0.050 |") and "| 2 | 1.5 |" in lines[2]
    assert len(table({"runs": runs}, "photos").splitlines()) == 2
