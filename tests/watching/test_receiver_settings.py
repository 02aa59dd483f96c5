"""What cannot be a receiver of notices is refused as storaged.yaml is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.config.settings import load_settings
from storaged.errors import ConfigError


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("name: a, format: mail", "needs `server`"),
        ("name: a, server: 'mail:25'", "are for mails"),
        ("name: a, url: 'https://u:p@example.org'", "cannot stand in a URL"),
        ("name: a, url: 'ftp://example.org'", "not the URL of a server"),
        ("name: a, format: mail, server: mail, sender: a@b, to: [a@b]", "no mail server"),
        ("name: a, format: mail, server: 'mail:25', sender: 'Ann <a@b>', to: [a@b]", "no address"),
        ("name: a, format: mail, server: 'mail:25', sender: a@b, to: [a@b], user: u, security: none", "in the clear"),
    ],
)
def test_receivers_that_cannot_be_are_refused(tmp_path: Path, wrong: str, says: str) -> None:
    config = tmp_path / "storaged.yaml"
    config.write_text(f'tiers: {{hot: {{rank: 0, url: "file://{tmp_path}/hot"}}}}\nnotify: [{{{wrong}}}]\n')
    with pytest.raises(ConfigError) as refused:
        load_settings(config)
    assert says in str(refused.value.problems[0].message) + str(refused.value.problems[0].hint)
