"""Keys that people write into a policy, and where they stand instead."""

from __future__ import annotations

from typing import Final

from storaged.config.sections import DatasetSettings
from storaged.config.settings import Settings
from storaged.decide.conditions import CONDITIONS

ELSEWHERE: Final = {
    **{key: f"`{key}` stands in storaged.yaml, in a dataset below `datasets:`" for key in DatasetSettings.model_fields},
    **{key: f"`{key}` stands in storaged.yaml, at its top: it is for all policies" for key in Settings.model_fields},
    **{key: f"`{key}` is a condition: it stands under `when:`" for key in CONDITIONS},
    "owner": "`owner` can be asked for by `where:`, such as `where: owner = 'ann'`",
    "grace": "in a policy it is called `keep_source`; `grace` stands in storaged.yaml, for all policies",
}
