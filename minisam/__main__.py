"""The command ``minisam``, as a script and with ``python -m``: ``commands.main``, or one line if Ctrl-C comes first."""

from __future__ import annotations

import sys


def main() -> int:
    """The command's exit code. What it imports is imported here, where an interruption is one line as well."""
    try:
        from minisam.commands.main import main
    except KeyboardInterrupt:
        print("\nminisam: interrupted", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(main())
