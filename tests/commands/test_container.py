"""The commands as a container runs them: not root, a package that nobody may write to, no home, an empty cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import minisam
import minisam_kernels
from minisam.files.images import save_png

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
# As nobody who may read all, as nobody, as root without its privileges: what the machine allows first.
ROLES = [[*NOBODY, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"], NOBODY]
ROLES.append(["setpriv", "--bounding-set=-all", "--inh-caps=-all"])
PROBE = "import numpy, os, sys; sys.exit(os.access(sys.argv[1], os.W_OK))"


@pytest.fixture(scope="module")
def box():
    """A folder with a copy of both packages that the role cannot change, and with ``work``, which it can; the role."""
    with tempfile.TemporaryDirectory(prefix="minisam-box-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for package in (minisam, minisam_kernels):
            home = Path(str(package.__file__)).parent
            shutil.copytree(home, folder / home.name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in [*folder.rglob("*"), folder]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        for role in ROLES if os.getuid() == 0 else [[]]:
            folder.chmod(0o755)
            shutil.rmtree(folder / "work", ignore_errors=True)
            for each in (folder / "work", folder / "work" / "tmp"):
                each.mkdir()
                if "--reuid=65534" in role:
                    os.chown(each, 65534, 65534)
            folder.chmod(0o555)
            command = [*role, sys.executable, "-c", PROBE, str(folder / "minisam")]
            try:
                if subprocess.run(command, capture_output=True, env=environment(folder)).returncode == 0:
                    break
            except FileNotFoundError:
                continue
        else:
            pytest.skip("no user without privileges can run this Python here")
        yield folder, role
        for path in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
            path.chmod(0o755)


def environment(folder, **more):
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("NUMBA", "XDG", "PYTHON", "MINISAM"))
    }
    return (
        clean | {"HOME": str(folder / "none"), "PYTHONPATH": str(folder), "TMPDIR": str(folder / "work" / "tmp")} | more
    )


def command(box, *words, **more):
    folder, role = box
    call = [*role, sys.executable, "-m", "minisam", *words]
    done = subprocess.run(call, cwd=folder / "work", env=environment(folder, **more), capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, [line for line in done.stderr.splitlines() if line.startswith("minisam")]


@pytest.mark.slow
def test_commands_in_a_container(box):
    """``segment``, ``everything`` and two steps of ``train``; what was compiled is found again, and said once."""
    folder, _ = box
    save_png(folder / "work" / "p.png", np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    code, out, said = command(box, "segment", "p.png", "--point", "20,20", "--json")
    seconds = json.loads(out)["seconds"]
    assert code == 0 and len(said) == 1 and "kept in" in said[0] and seconds["compile"] > 0
    code, out, said = command(box, "segment", "p.png", "--point", "20,20", "--json")
    assert (code, said, json.loads(out)["seconds"]["compile"]) == (0, [], 0)
    assert command(box, "everything", "p.png", "-o", "m.json")[0] == 0 and (folder / "work" / "m.json").is_file()
    small = ["--size", "64", "--steps", "2", "--batch", "2", "--workers", "0", "--masks", "2", "--rounds", "2"]
    code, out, _ = command(box, "train", "run", *small)
    assert code == 0 and (folder / "work" / "run" / "weights.safetensors").is_file()
    assert not (folder / "none").exists() and not list(folder.glob("minisam*/**/__pycache__"))
