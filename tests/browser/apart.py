"""The daemon's pages in a real Chromium, with axe-core: `make browser` gets what that takes and runs this."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from storaged.daemon.approving import PATH
from tests.browser.lake import served
from tests.watching.test_approving import ANN
from tests.watching.test_site import ASKED, HOSTILE

PLACE = Path(os.environ["BROWSER"])  # where npm's packages are
PICTURES = Path(os.environ["PICTURES"]) if os.environ.get("PICTURES") else None
PAGES = [*(f"{path}?{query}" if query else path for path, query in ASKED), f"{PATH}?plan=2"]
CLICKS = [{"path": f"{PATH}?plan=2", "button": "button[value=apply]", "then": "/plans?plan=2"}]


def looked(place: Path, base: str, pages: list[str], pictures: list[dict[str, Any]]) -> dict[str, Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "there is no Chromium: `apt-get install chromium`"
    job = place / "job.json"
    login = {"username": "ann", "password": ANN}
    told = {"browser": chromium, "base": base, "login": login, "pages": pages, "pictures": pictures, "clicks": CLICKS}
    job.write_text(json.dumps(told))
    done = subprocess.run(["node", PLACE / "look.mjs", job], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(1_000)
@pytest.mark.parametrize("hostile", [False, True], ids=["ordinary", "hostile"])
def test_every_page_is_right_at_three_widths_light_and_dark_and_by_keyboard(tmp_path: Path, hostile: bool) -> None:
    """And a plan is approved by a click: what a browser says of where a form comes from is what we ask."""
    pages = [*PAGES, f"/object?name={quote(f'events/{HOSTILE}')}"] if hostile else PAGES
    if hostile:
        pages.remove("/object?name=events/raw")
    pictures = [] if hostile or PICTURES is None else [
        {"path": "/", "width": 1100, "height": 900, "scheme": "light", "file": str(PICTURES / "page-money.png")},
        {"path": "/map", "width": 1100, "height": 860, "scheme": "dark", "file": str(PICTURES / "page-map.png")},
    ]  # fmt: skip
    with served(tmp_path / "lake", hostile=hostile) as web:
        found = looked(tmp_path, f"http://127.0.0.1:{web.port}", pages, pictures)
    assert found["wrong"] == []
    assert found["looks"] == 6 * len(pages)
    assert found["elements"] > 10 * found["looks"], "axe looked at something"
