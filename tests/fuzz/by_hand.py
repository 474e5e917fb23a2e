"""Feed a reader damaged files for as long as one likes: ``python tests/fuzz/by_hand.py packed -max_total_time=600``.

Atheris (``pip install atheris``) sees which lines of ours each file reaches and damages those that reach new ones. The
first files are the reader's valid ones. What fails is left as ``crash-…`` in the folder in which one stands.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris
from readers import READERS, answer

ROOMS = ["minisam.files", "minisam.checkpoints", "minisam.model", "minisam.training"]  # none that Numba compiles


def main() -> None:
    """Options after the reader's name are libFuzzer's."""
    if len(sys.argv) < 2 or sys.argv[1] not in READERS:
        sys.exit(f"expected a reader among {', '.join(READERS)}")
    reader = READERS[sys.argv[1]]
    folder = Path(tempfile.mkdtemp(prefix="minisam-fuzz-"))
    valid = reader.write(folder)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, path in enumerate(valid):
        (corpus / str(number)).write_bytes(path.read_bytes())
        with atheris.instrument_imports(include=ROOMS):
            reader.read(path)  # imported and compiled before the clock runs
    counts = {"read": 0, "refused": 0}

    def one(data: bytes) -> None:
        place = valid[len(data) % len(valid)]
        place.write_bytes(data)
        refused = isinstance(answer(lambda: reader.read(place), len(data)), ValueError)
        counts["refused" if refused else "read"] += 1
        if sum(counts.values()) % 1000 == 0:
            print(f"{sys.argv[1]}: {counts}", flush=True)

    atheris.Setup([sys.argv[0], *sys.argv[2:], str(corpus)], one)
    atheris.Fuzz()


main()
