"""The command ``minisam``, as a script and with ``python -m``: ``commands.main``, or one line if Ctrl-C comes first."""

from __future__ import annotations

import os
import sys
import threading


def main() -> int:
    """The command's exit code. What it imports is imported here, where an interruption is one line as well."""
    try:
        _spare_threads()
        from minisam.commands.main import main
    except KeyboardInterrupt:
        print("\nminisam: interrupted", file=sys.stderr)
        return 130
    return main()


def _spare_threads() -> None:
    """Let OpenBLAS start no threads where it cannot start them all: it would send this process Ctrl-C's signal.

    NumPy's and SciPy's each start one for every core but one, when they are imported.
    """
    done = threading.Event()
    threads = [threading.Thread(target=done.wait, daemon=True) for _ in range(2 * (os.cpu_count() or 1) - 2)]
    started = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except (RuntimeError, MemoryError):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    finally:
        done.set()
        for thread in started:
            thread.join()


if __name__ == "__main__":
    sys.exit(main())
