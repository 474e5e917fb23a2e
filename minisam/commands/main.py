"""The command ``minisam``.

Bad input is one line on stderr, ``minisam: error: expected …, got …``, and exit code 2; nothing half-written stays. An
interrupted command ends with 130, a terminated one with 143. Whatever is imported here is light: ``minisam --help``
does not wait for compilers.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import minisam
from minisam.commands import bench, engine, everything, export, segment, train, transfer, verify
from minisam.console import (
    add_model,
    compilation,
    explain,
    load_or_build_model,
    positive,
    progress,
    terminated_by_exception,
)
from minisam_kernels.runtime.errors import InputError


class _Parser(argparse.ArgumentParser):
    """Errors in one line, whichever command they belong to. Whatever begins as a negative number does is no option:
    ``--point -1,5``, ``--lr -1e-3``, ``--pred-iou-thresh -inf``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._negative_number_matcher = re.compile(r"-(\.?\d|(?i:inf|nan))")

    def error(self, message: str) -> NoReturn:
        one_line = " ".join(message.split())
        self.exit(2, f"minisam: error: {one_line} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="minisam", description="Segment Anything from scratch in NumPy and Numba.")
    parser.add_argument("--version", action="version", version=f"minisam {minisam.__version__}")
    parsers = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    segment.add(parsers)
    everything.add(parsers)
    train.add(parsers)
    bench.add(parsers)
    export.add(parsers)
    verify.add(parsers)

    warmup = parsers.add_parser("warmup", help="compile the kernels now, so that the first image does not wait")
    add_model(warmup)
    warmup.set_defaults(run=_warmup)

    transfer.add(parsers)
    engine.add(parsers)

    read = parsers.add_parser("read", help="build the textbook and open it (in a source checkout)")
    read.add_argument("--port", type=positive, default=8000, help="the first port to try (default 8000)")
    read.add_argument("--no-browser", action="store_true", help="only print the address")
    read.set_defaults(run=_read)
    parsers.add_parser("lab", help="open the chapters as live notebooks (in a source checkout)").set_defaults(run=_lab)
    return parser


def _warmup(options: argparse.Namespace) -> int:
    """One image, every kind of prompt, and everything in it: what a first click would otherwise wait for."""
    import numpy as np

    from minisam.automatic.generator import SamAutomaticMaskGenerator
    from minisam.commands.segment import describe
    from minisam.model.preprocess import binary_mask_to_logits
    from minisam.predictor import SamPredictor

    predictor = SamPredictor(load_or_build_model(options))
    config = predictor.model.config
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    rough = binary_mask_to_logits(np.ones((48, 64), bool), config)
    point, label, box = np.array([[20.0, 30.0]]), np.array([1]), np.array([4.0, 5.0, 40.0, 44.0])
    prompts: dict[str, dict[str, Any]] = {
        "point": {"point_coords": point, "point_labels": label},
        "box": {"box": box},
        "points and box": {"point_coords": point, "point_labels": label, "box": box},
        "mask": {"mask_input": rough},
    }
    with progress(total=len(prompts) + 2, desc="encoder") as bar, compilation(bar) as compiled:
        predictor.set_image(image)
        bar.update()
        for name, prompt in prompts.items():
            bar.set_description(name)
            for multimask_output in (True, False):
                describe(predictor, *predictor.predict(**prompt, multimask_output=multimask_output))
            predictor.predict(**prompt, return_logits=True)
            bar.update()
        bar.set_description("everything")
        settings: dict[str, Any] = {"pred_iou_thresh": 0, "stability_score_thresh": 0, "crop_n_layers": 1}
        settings |= {"points_per_side": 1, "min_mask_region_area": 9, "output_mode": "coco_rle"}
        SamAutomaticMaskGenerator(predictor.model, **settings).generate(image)
        bar.update()
    new = f"{compiled.functions} functions in {compiled.seconds:.1f} s" if compiled.functions else "nothing was new"
    print(f"{config.name} is warm: every kernel is compiled and kept for later ({new})")
    return 0


def _read(options: argparse.Namespace) -> int:
    if options.port > 65535:
        raise InputError(f"expected --port up to 65535, got {options.port}")
    return _book("read", f"--port={options.port}", *(["--no-browser"] if options.no_browser else []))


def _lab(options: argparse.Namespace) -> int:
    return _book("lab")


def _book(*words: str) -> int:
    """Run the book's tools, which are not part of the package, in the source checkout around it."""
    root = Path(minisam.__file__).resolve().parents[1]
    if not (root / "book" / "tools" / "server.py").is_file():
        raise InputError(f"expected a source checkout, with the folder book beside minisam, got {root}")
    with subprocess.Popen([sys.executable, "-m", "book.tools.server", *words], cwd=root) as tool:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the tool as well, and it ends by it
        return tool.wait()


def main(argv: list[str] | None = None) -> int:
    """Run a command; its exit code: 0, 1 when ``verify`` finds a difference, 2 for bad input or what the machine cannot
    do, 70 for a fault of minisam itself, 130 for Ctrl-C, 143 for SIGTERM. A message is one line.

    With ``MINISAM_DEBUG`` set, what is not bad input is a traceback instead.
    """
    _open_streams()
    try:
        with terminated_by_exception():
            try:
                if "\0" in "".join(argv or ()):
                    raise InputError("expected arguments without the character NUL, got one")
                options = _parser().parse_args(argv)
                return int(options.run(options))
            finally:
                sys.stdout.flush()
    except SystemExit as stop:  # --help, --version, unknown options, SIGTERM
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt as stop:
        print(f"\nminisam: {str(stop) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as in minisam segment … | head: nobody listens any more
        _silence(sys.stdout)
        return 0
    except Exception as error:
        if os.environ.get("MINISAM_DEBUG") and not isinstance(error, InputError):
            raise
        code, message = explain(error)
        with contextlib.suppress(OSError):  # nobody may listen here either
            print(f"minisam: error: {message}", file=sys.stderr, flush=True)
        if isinstance(error, OSError):  # what stdout still holds may be what could not be written
            _silence(sys.stdout)
        return code


def _open_streams() -> None:
    """Three streams, also where a shell has closed some: otherwise a file would be opened in their place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (to the end of the process)
    for stream in (sys.stdout, sys.stderr):  # where "→" cannot be written, it is spelt out
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _silence(stream: Any) -> None:
    """Let what is still written to ``stream``, at the latest when Python ends, go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        stream.flush()
        return
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
