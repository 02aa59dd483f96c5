"""The program of `docs/reading-without-storaged.md` that reads weights."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.codecs.tensor_files import back
from tests.codecs.test_tensor import FILES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reading-without-storaged.md"


def test_weights_are_read_without_storaged(tmp_path: Path) -> None:
    """As the page has it, in a process that knows nothing of us: floats, differences, and what lies between."""
    [program] = re.findall(r"^## Weights.*?^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "blob").write_bytes(back(FILES["several"]))
    command = [sys.executable, "-W", "error", "-c", program, "blob", "file"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "file").read_bytes() == FILES["several"]
