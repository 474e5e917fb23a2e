"""A Sphinx extension for the textbook: what a cell's program prints in pieces is shown in one piece.

IPython hands on the output of a ``%%bash`` cell as it comes, at most 100 characters at a time, and MyST-NB's merging of
streams ends each piece with a new line, wherever it was cut. ``book/_config.yml`` names this module among its
extensions; nothing else imports it.
"""

from __future__ import annotations

from typing import Any


def join_streams(outputs: list[Any]) -> list[Any]:
    """The outputs of a cell, pieces of the same stream that follow each other as one output. The list and its entries
    stay as they are."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output["output_type"] == "stream" == last.get("output_type") and output["name"] == last["name"]:
            joined[-1] = type(output)({**output, "text": last["text"] + output["text"]})
        else:
            joined.append(output)
    return joined


def setup(app: Any) -> dict[str, Any]:
    from myst_nb.core import render

    merge = render.coalesce_streams
    render.coalesce_streams = lambda outputs: merge(join_streams(outputs))
    return {"version": "1", "parallel_read_safe": True}
