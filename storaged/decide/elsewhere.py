"""Keys that people write into a policy and that stand in storaged.yaml."""

from __future__ import annotations

from typing import Final

from storaged.config.sections import DatasetSettings
from storaged.config.settings import Settings

ELSEWHERE: Final = {
    **{key: f"`{key}` stands in storaged.yaml, in a dataset below `datasets:`" for key in DatasetSettings.model_fields},
    **{key: f"`{key}` stands in storaged.yaml, at its top: it is for all policies" for key in Settings.model_fields},
    "grace": "in a policy it is called `keep_source`; `grace` stands in storaged.yaml, for all policies",
}
