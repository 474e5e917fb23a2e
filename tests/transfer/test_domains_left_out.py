"""Domains left out: which models count as which, means and wins from known figures, runs that go on, odd folders."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from minisam.checkpoints.checkpoint import save_checkpoint
from minisam.checkpoints.safetensors_file import read_safetensors
from minisam.sam import random_state
from minisam.transfer import left_out
from minisam.transfer.clicks import FIGURES, LEAST, POINTS
from minisam.transfer.left_out import (
    OBJECTS,
    digest,
    domain_cases,
    evaluate,
    find_models,
    jobs,
    kept_file,
    measure_file,
    open_model,
    prepare,
    real_cases,
    real_sets,
)
from minisam.transfer.left_out_report import ALL, page, summarise, tables
from minisam.transfer.report import markdown
from minisam.transfer.stored_models import GROUPS, KINDS, SIDE
from minisam.world import HELD_OUT, render
from minisam_kernels import InputError
from small_models import SMALL

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "a model that saw the domain": (
        "minisam/transfer/left_out_report.py",
        "left_out = _stacked(found, kind, seeds, [group], name)",
        "left_out = _stacked(found, kind, seeds, list(GROUPS), name)",
    ),
    "a model that did not see it": (
        "minisam/transfer/left_out_report.py",
        "[g for g in GROUPS if g != group], name)",
        "list(GROUPS), name)",
    ),
    "pictures of two domains that are one": (
        "minisam/transfer/left_out_report.py",
        'first[name]["picture"] + 10_000 * i',
        'first[name]["picture"]',
    ),
    "seeds that are not the same": (
        "minisam/transfer/left_out_report.py",
        'joined("clicks", both)',
        'joined("clicks", both[::-1])',
    ),
    "a draw that is a win": ("minisam/transfer/left_out_report.py", "(means[:, i] < 0)", "(means[:, i] <= 0)"),
    "figures of other code": ("minisam/transfer/left_out.py", "{digest(cases)}-{code()}", "{digest(cases)}"),
    "as if measured now": ("minisam/transfer/left_out.py", '"kept": before,', '"kept": 0,'),
    "scenes of the training": ("minisam/transfer/left_out.py", "render(HELD_OUT + number", "render(number"),
    "images of the training": (
        "minisam/transfer/left_out.py",
        'HOLD_OUT if part == "train" else 1)',
        "1)",
    ),
}
DOMAINS = [domain for group in GROUPS.values() for domain in group]


def made_up() -> dict:
    """Three seeds of both kinds. On a domain left out SAM's IoU is .4 + .01 · seed, seen .5 + …; the network has .45
    and .45, at nine clicks as much as SAM; on the real set all have .3."""
    found = {}
    for kind in KINDS:
        for group in GROUPS:
            for seed in range(3):
                found[kind, group, seed] = entry = {}
                for name in [*DOMAINS, "photos"]:
                    value = 0.5 - 0.1 * (name in GROUPS[group]) + 0.01 * seed
                    value = 0.3 if name == "photos" else value if kind == "sam" else 0.45
                    iou = np.full((4, len(POINTS)), value)
                    if kind == "clicks" and name != "photos":
                        iou[:, -1] = 0.5 - 0.1 * (name in GROUPS[group]) + 0.01 * seed
                    figures = {
                        "confident": iou,
                        "oracle": iou + 0.1,
                        "noc_85": np.full(4, 19),
                        "noc_90": np.full(4, 20),
                    }
                    entry[name] = {**figures, "picture": np.array([0, 0, 1, 1])}
    return found


def test_left_out_beside_seen():
    """Kills: a model that saw the domain, a model that did not see it, pictures of two domains that are one, seeds
    that are not the same, a draw that is a win."""
    report = summarise(made_up(), {"photos": (Path("photos"), 20)})
    first, by_name = report["sets"][0], {entry["name"]: entry for entry in report["sets"]}
    assert (first["name"], first["pictures"], first["objects"]) == (ALL, 46, 92) and len(report["sets"]) == 25
    for entry in (first, by_name["kitchen"]):
        sam = entry["sam"]
        np.testing.assert_allclose(sam["left_out"]["confident"]["mean"], 0.41)
        np.testing.assert_allclose(sam["seen"]["confident"]["mean"], 0.51)
        for limit in ("mean", "low", "high"):  # pairs of the same seed: no spread is left
            np.testing.assert_allclose(sam["difference"]["confident"][limit], -0.1)
            np.testing.assert_allclose(entry["sam_minus_clicks"]["left_out"]["confident"][limit][-1], 0, atol=1e-12)
        np.testing.assert_allclose(np.array(sam["left_out"]["confident"]["seeds"])[:, 0], [0.40, 0.41, 0.42])
        assert sam["left_out"]["noc_90"]["mean"] == 20 and "difference" not in entry["sam_minus_clicks"]
    assert by_name["kitchen"]["group"] == "indoors" and first["group"] is None
    assert by_name["photos"]["note"].startswith("images held out") and set(by_name["photos"]["sam"]) == {"real"}
    wins = report["wins"]
    one, nine = wins["left_out"]["confident"][0], wins["left_out"]["confident"][-1]
    assert one == {"points": 1, "sets": 23, "sam": 0, "clicks": 23, "sam_surely": 0, "clicks_surely": 23}
    assert (nine["sam"], nine["clicks"]) == (0, 0) and wins["seen"]["oracle"][0]["sam_surely"] == 23
    assert wins["real"]["confident"][0]["sets"] == 1


def test_tables_and_one_kind_alone():
    found = {key: entry for key, entry in made_up().items() if key[0] == "sam" and key[2] < 2}
    report = summarise(found, {})
    text = "\n\n".join(markdown(table) for table in tables(report))
    assert "Seeds: SAM 2." in text and "RITM" not in text and report["wins"] == {}
    both = summarise(made_up(), {"photos": (Path("photos"), 1)})
    text = "\n\n".join(markdown(table) for table in tables(both))
    assert "0 : 23 (0 : 23)" in text and "photos (nothing of the set seen)" in text


def test_cases_are_held_out():
    """Kills: scenes of the training."""
    cases = list(domain_cases("timber", 2))
    assert [case.image.shape for case in cases] == [(SIDE, SIDE, 3)] * 2
    for number, case in enumerate(cases):
        scene = render(HELD_OUT + number, SIDE, "timber")
        np.testing.assert_array_equal(case.image, scene.image)
        every = {mask.segmentation.tobytes() for mask in scene.masks}
        assert (
            all(mask.sum() >= LEAST and mask.tobytes() in every for mask in case.masks) and len(case.masks) <= OBJECTS
        )


def test_sets_of_real_images(folder, tmp_path):
    """Kills: images of the training."""
    (tmp_path / "all" / "train").mkdir(parents=True)
    (tmp_path / "all" / "dev").mkdir()
    for part, name in (("train", "a"), ("dev", "b")):
        (tmp_path / "all" / part / name).symlink_to(folder)
    assert {name: every for name, (_, every) in real_sets(tmp_path / "all").items()} == {"a": 20, "b": 1}
    assert real_sets(folder) == {folder.name: (folder, 1)} and real_sets(None) == {}
    (tmp_path / "street").mkdir()
    assert list(real_sets(tmp_path / "street")) == ["street (real)"]  # the domain's own row stays
    cases = list(real_cases(folder, 1, 5))
    assert [len(case.masks) for case in cases] == [2, 1] and cases[0].image.shape[:2] == (60, 80)
    assert len(list(real_cases(folder, 20, 5))) == 1
    with pytest.raises(InputError, match="folder of sets"):
        real_sets(tmp_path / "nowhere")


@pytest.fixture
def models(tmp_path):
    """Four SAMs of one seed, of the smallest size, with what their files have to say."""
    for seed, group in enumerate(GROUPS):
        notes = {"facts": json.dumps({"commit": "abc", "processor_seconds": 60}), "settings": json.dumps({"steps": 7})}
        path = tmp_path / "models" / f"sam-{group}-1.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_checkpoint(path, random_state(SMALL, seed), SMALL, notes)
    return path.parent


def test_a_run_that_goes_on(models, folder, tmp_path, monkeypatch, capsys):
    """Kills: figures of other code."""
    monkeypatch.setattr(left_out, "GROUPS", {"above": ("timber",), "indoors": ("crowd",)})
    path, work, cases = models / "sam-above-1.safetensors", tmp_path / "work", prepare(1, {"photos": (folder, 1)}, 2)
    found = measure_file(path, cases, work)
    assert set(found) == {"timber", "crowd", "photos"} and set(found["timber"]) >= {*FIGURES, "picture"}
    monkeypatch.setattr(left_out, "open_model", None)  # is not needed again
    kept = kept_file(path, cases, work)
    with monkeypatch.context() as other:
        other.setattr("minisam.transfer.suite.code", lambda: "other code")
        assert kept.is_file() and not kept_file(path, cases, work).exists()
    again = measure_file(path, cases, work)
    assert all(np.array_equal(again[name][key], array) for name, entry in found.items() for key, array in entry.items())
    assert len({digest(cases), digest({**cases, "photos": cases["photos"][:1]}), digest({})}) == 3


def flat(names):
    """The figures of three objects of each set, as ``measure_file`` returns them."""
    return {name: {"confident": np.full((3, 5), 0.5), "oracle": np.full((3, 5), 0.6), "noc_85": np.full(3, 20),
                   "noc_90": np.full(3, 20), "picture": np.arange(3)} for name in names}  # fmt: skip


def test_figures_of_an_earlier_run_are_told(models, tmp_path, monkeypatch):
    """Kills: as if measured now."""
    monkeypatch.setattr(left_out, "measure_file", lambda *job: flat(DOMAINS))
    monkeypatch.setattr(left_out, "prepare", lambda *limits: flat(DOMAINS))
    monkeypatch.setattr(left_out, "digest", lambda cases: "these")
    work = tmp_path / "work"
    work.mkdir()
    kept_file(models / "sam-above-1.safetensors", {}, work).touch()
    assert "The figures of 1 of 4 models were read" in tables(evaluate(models, work=work))[0].notes[1]
    assert len(tables(evaluate(models))[0].notes) == 1


def test_the_command(models, folder, tmp_path, monkeypatch, capsys):
    some = flat([*DOMAINS, folder.name])
    monkeypatch.setattr(left_out, "measure_file", lambda *job: some)
    monkeypatch.setattr(left_out, "prepare", lambda *limits: some)
    parser = argparse.ArgumentParser()
    left_out.add(parser.add_subparsers())
    out = tmp_path / "report.json"
    options = parser.parse_args(["left-out", "--models", str(models), "--real", str(folder), "--json", str(out)])
    assert options.run(options) == 0 and "All domains of the world" in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert [m["name"] for m in report["models"]] == [f"sam-{group}-1" for group in GROUPS]
    assert report["models"][0] == {
        "name": "sam-instruments-1", "kind": "sam", "group": "instruments", "seed": 1, "steps": 7,
        "weights": report["models"][0]["weights"], "processor_seconds": 60, "commit": "abc",
    }  # fmt: skip
    assert report["points"] == [1, 2, 3, 5, 9] and report["command"].startswith("minisam transfer left-out --scenes 2")
    assert out.with_suffix(".md").read_text() == page(report) and str(tmp_path) not in out.read_text()
    (job,) = jobs(models, work=None, processes=1)
    assert next(table.title for table in job.run()) == "All domains of the world" and job.name == "left-out"


def test_folders_without_models(models):
    (models / "sam-above-1.safetensors").unlink()
    with pytest.raises(InputError, match="of all four groups"):
        find_models(models)
    assert open_model(models / "sam-indoors-1.safetensors").name == "small"
    assert read_safetensors(models / "sam-indoors-1.safetensors")[1]["facts"]
