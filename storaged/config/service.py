"""The `daemon:` section of storaged.yaml: what runs when, how much at a time, and where it is watched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from storaged.config.fields import FilePath, Name, TierName
from storaged.config.quantities import BadValueError, Duration, Percent, parse_percent, shown
from storaged.config.schedules import Schedule
from storaged.config.sections import Section, at_least, duration_field
from storaged.config.urls import EndpointUrl


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) <= 65_535:
        raise BadValueError(f"{shown(text)} is no address", hint="host:port, such as 127.0.0.1:9464 or [::]:9464")
    return text


class WindowSettings(Section):
    """A time in which jobs may run."""

    opens: Schedule = Field(description="When it opens: minute hour day month weekday, in UTC.")
    lasts: Annotated[Duration, at_least("1m")] = Field(description="How long it stays open, such as 8h.")


class VerifySettings(Section):
    """Reading a random part of all content again, to find damage before a reader does."""

    schedule: Schedule = Field(default="0 4 * * *", description="When a part is read.")
    sample: Percent = Field(
        default=parse_percent("0.1%"),
        description="Which share of the objects is read each time.",
        json_schema_extra={"default": "0.1%"},
    )


class RetentionSettings(Section):
    """How long the catalog remembers what is over. The journal is never cut."""

    schedule: Schedule = Field(default="30 5 * * *", description="When old rows are deleted.")
    jobs: Annotated[Duration, at_least("1d")] = duration_field("90d", "Jobs that ended, and the plans they came from.")
    runs: Annotated[Duration, at_least("1d")] = duration_field("90d", "Scans and other runs of the daemon.")
    audit: Annotated[Duration, at_least("1d")] = duration_field("400d", "Who did what to which object, and why.")
    ledger: Annotated[Duration, at_least("1d")] = duration_field(
        "400d",
        "Which objects applied plans moved, so that `storagectl savings` can look at each. Sums are kept for ever.",
    )

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.audit < self.ledger:
            raise BadValueError(
                "`audit` is shorter than `ledger`", hint="savings look up in the audit since when an object is away"
            )
        return self


class BackupSettings(Section):
    """Copies of the catalog in a tier. What happened since a copy was made stands in the journal."""

    tier: TierName = Field(description="Where the copies go. Not the disk that the catalog is on.")
    schedule: Schedule = Field(default="0 5 * * *", description="When one is made.")
    keep: int = Field(default=7, ge=1, description="How many are kept.")


class ApproverSettings(Section):
    """Somebody who may apply or discard plans on the daemon's pages. What they show for it is a token of their own, a
    secret: STORAGED_APPROVER_NAME_TOKEN, NAME in upper case with _ for what is no letter or digit, also as a file
    (_FILE) or systemd credential."""

    name: Name = Field(description="Whom the audit names.")
    token_file: FilePath | None = Field(default=None, description="A file with the token. Left out: the secret.")

    @property
    def secret_name(self) -> str:
        """How storaged.config.secrets calls its token."""
        return f"APPROVER_{re.sub('[^A-Z0-9]', '_', self.name.upper())}_TOKEN"


class DaemonSettings(Section):
    """The daemon, `storaged run`. All times are UTC."""

    scan: Schedule = Field(default="0 * * * *", description="When datasets are scanned that say nothing else.")
    ingest: Schedule = Field(default="*/15 * * * *", description="When access logs are read.")
    sweep: Schedule = Field(default="45 * * * *", description="When what is superseded and out of grace is released.")
    doctor: Schedule = Field(
        default="10 3 * * *", description="When doctor compares the catalog with what is there, for the pages."
    )
    survey: Schedule = Field(
        default="50 * * * *", description="When everything is counted in money, for the pages and /metrics."
    )
    learn: Schedule = Field(
        default="20 4 * * 1",
        description="When forecasts are learnt anew, as `storagectl learn` does. Never while no policy says "
        "`tier: auto`.",
    )
    verify: VerifySettings = Field(default_factory=VerifySettings, description="Looking for damage.")
    retention: RetentionSettings = Field(default_factory=RetentionSettings, description="Forgetting what is over.")
    backup: BackupSettings | None = Field(default=None, description="Copies of the catalog. Left out: none.")
    jobs: int = Field(default=2, ge=1, le=64, description="At most so many jobs at a time, on each machine.")
    max_load: float = Field(
        default=1.5, gt=0, description="Above this load average per core, one job at a time and no more."
    )
    windows: list[WindowSettings] = Field(default=[], description="When jobs may run. Left out: always.")
    poll: Annotated[Duration, at_least("100ms")] = duration_field("5s", "How often it looks for what is due.")
    lease: Annotated[Duration, at_least("1s")] = duration_field(
        "30s", "A daemon without a sign of life for this long has lost the lead and the work it was at."
    )
    drain: Duration = duration_field("60s", "How long a stop waits for running jobs before it abandons them.")
    retry: Annotated[Duration, at_least("1s")] = duration_field(
        "5m", "What is suspended because a place is full, away or forbidden is tried again after this time."
    )
    listen: Annotated[str, AfterValidator(_address)] = Field(
        default="127.0.0.1:9464", description="Where /healthz, /readyz and /metrics are. Port 0: any free one."
    )
    token_file: FilePath | None = Field(
        default=None, description="A file with the token that clients must show where `listen` is not this machine."
    )
    url: EndpointUrl | None = Field(
        default=None, description="Where browsers see the pages, if a proxy gives them another name or port."
    )
    approvers: list[ApproverSettings] = Field(
        default=[], description="Who may apply or discard plans on the pages. Left out: nobody, they only show."
    )
    log: Literal["auto", "text", "journal", "json"] = Field(
        default="auto", description="How it logs. auto: journal under systemd, text elsewhere."
    )

    @field_validator("approvers")
    @classmethod
    def _different(cls, given: list[ApproverSettings]) -> list[ApproverSettings]:
        if len({one.secret_name for one in given}) < len(given):
            raise BadValueError("two approvers would have the same secret", hint="their names differ too little")
        return given

    def placed(self, base: Path) -> DaemonSettings:
        """The same, with paths as they are from a directory."""
        approvers = [
            one if one.token_file is None else one.model_copy(update={"token_file": base / one.token_file})
            for one in self.approvers
        ]
        token_file = None if self.token_file is None else base / self.token_file
        return self.model_copy(update={"token_file": token_file, "approvers": approvers})
