"""``minisam bench``: our NumPy model and the same model in torch, side by side in one run.

The two take turns, so that a machine that others use too slows both alike; medians and the middle half are shown. The
starting times (import, first mask) are those of new processes, with compiled kernels already on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from minisam.commands.options import add_model, load_or_build_model, need, positive, progress
from minisam.files import atomic

FIRST_MASK = (
    "import numpy as np, minisam; p = minisam.SamPredictor(minisam.{model});"
    "p.set_image(np.full((300, 451, 3), 99, np.uint8)); p.predict([[200, 150]], [1])"
)


def add(parsers: Any) -> None:
    """The command's options."""
    parser = parsers.add_parser("bench", help="time the model beside the same model in torch")
    add_model(parser)
    parser.add_argument("--repeat", type=positive, default=9, metavar="N", help="measurements of each (default 9)")
    parser.add_argument("--json", metavar="PATH", help="write the figures as JSON as well")
    parser.set_defaults(run=run)


def environment() -> dict[str, Any]:
    """What the figures depend on: processor, cores, threads, BLAS, versions."""
    import numba
    import numpy as np
    import torch
    from threadpoolctl import threadpool_info

    from minisam_kernels.threads import num_threads

    blas = [f"{i['internal_api']} {i['version']} {i.get('architecture', '')}" for i in threadpool_info()]
    pinned = {name: value for name, value in os.environ.items() if name.startswith(("OPENBLAS_", "MINISAM_"))}
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": {"minisam": num_threads(), "torch": torch.get_num_threads()},
        "blas": blas,
        "environment": pinned,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "numba": numba.__version__,
                     "torch": torch.__version__},
    }  # fmt: skip


def alternate(functions: dict[str, Callable[[], Any]], repeat: int) -> dict[str, list[float]]:
    """Seconds of each function, called in turns, ``repeat`` times after two calls that do not count."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeat + 2):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn >= 2:
                times[name].append(time.perf_counter() - start)
    return times


def new_process(program: str, repeat: int = 3) -> list[float]:
    """Seconds that a new Python process takes for ``program``, imports included, after one that does not count."""
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)
        times.append(time.perf_counter() - start)
    return times[1:]


def run(options: argparse.Namespace) -> int:
    """Measure, print a table, write JSON."""
    need("reference", "torch")
    import numpy as np
    import torch

    from minisam.reference import build as build_reference

    sam = load_or_build_model(options)
    size = sam.config.image_size
    reference = build_reference(sam.config)
    reference.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in sam.state_dict().items()})
    rng = np.random.default_rng(0)
    image = rng.standard_normal((1, size, size, 3)).astype(np.float32)
    features, pe = sam.image_encoder(image), sam.prompt_encoder.get_dense_pe()

    def ours(count: int) -> Callable[[], Any]:
        coords, labels = rng.uniform(0, size, (count, 1, 2)), np.ones((count, 1))
        return lambda: sam.mask_decoder(features, pe, *sam.prompt_encoder((coords, labels)), True)

    def torchs(count: int) -> Callable[[], Any]:
        coords, labels = size * torch.rand(count, 1, 2), torch.ones(count, 1)
        embedding, place = torch.from_numpy(features), torch.from_numpy(pe)
        return lambda: reference.mask_decoder(embedding, place, *reference.prompt_encoder((coords, labels)), True)

    pixels = torch.from_numpy(image)
    pairs = {"encode a picture": (lambda: sam.image_encoder(image), lambda: reference.image_encoder(pixels))}
    pairs |= {f"{n} prompt{'s' * (n > 1)}": (ours(n), torchs(n)) for n in (1, 16)}
    figures: dict[str, dict[str, list[float]]] = {}
    with torch.no_grad(), progress(total=len(pairs), desc="bench") as bar:
        for name, (here, there) in pairs.items():
            figures[name] = alternate({"minisam": here, "torch": there}, options.repeat)
            bar.update()
    model = "load('tiny')" if sam.config.name == "tiny" else f"build({sam.config.name!r})"
    starts = {"import minisam": "import minisam", "first mask of a new process": FIRST_MASK.format(model=model)}
    for name, program in starts.items():
        figures[name] = {"minisam": new_process(program)}

    where = environment()
    for key, value in where.items():
        print(f"{key:12} {value}")
    print(f"\n{sam.config.name:28} {'minisam':>24} {'torch eager, float32':>24} {'ratio':>7}")
    for name, times in figures.items():
        cells = [f"{statistics.median(t) * 1e3:8.1f} ms {_spread(t):>12}" for t in times.values()]
        ratio = statistics.median(times["torch"]) / statistics.median(times["minisam"]) if "torch" in times else None
        print(f"{name:28} {' '.join(f'{cell:>24}' for cell in cells)} {f'{ratio:6.1f}×' if ratio else ''}".rstrip())
    if options.json:
        report = {"model": sam.config.name, "environment": where, "seconds": figures}
        with atomic(options.json) as temporary:
            temporary.write_text(json.dumps(report, indent=1))
    return 0


def _spread(times: list[float]) -> str:
    """The middle half, in milliseconds."""
    low, _, high = statistics.quantiles(times, n=4) if len(times) > 1 else (times[0],) * 3
    return f"({low * 1e3:.1f}–{high * 1e3:.1f})"
