"""The one place where one-shot commands print their result to stdout."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from wtp.cli.options import Output

if TYPE_CHECKING:
    from rich.console import RenderableType


def put(values: Any, shown: RenderableType, output: Output) -> None:
    """Print a result.

    Args:
        values: What `-o json` prints, as one indented document.
        shown: What people see; plain strings go out as they are.
        output: Which of both.
    """
    if output is Output.JSON:
        sys.stdout.write(json.dumps(values, indent=2, default=str) + "\n")
    elif isinstance(shown, str):
        sys.stdout.write(shown + "\n")
    else:
        from rich.console import Console

        Console(highlight=False, emoji=False).print(shown)
