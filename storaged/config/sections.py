"""The sections of storaged.yaml: one tier, one dataset, one log, limits, workers. Each holds or fails by itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from storaged.clock import SECOND
from storaged.config.fields import Money, Name, Partitions, Text
from storaged.config.quantities import (
    BadValueError,
    Duration,
    Percent,
    Size,
    format_duration,
    parse_duration,
    parse_size,
    shown,
)
from storaged.config.schedules import Schedule
from storaged.config.urls import EndpointUrl, LogPath, StoreUrl, refuse_secrets
from storaged.model import DEFAULT_CLASS, Dataset, Readers, Tier
from storaged.stores.access import Access


def duration_field(default: str, description: str) -> Any:
    """A pydantic field with a duration for a default, which the JSON Schema shows as people write it."""
    return Field(default=parse_duration(default), description=description, json_schema_extra={"default": default})


def at_least(least: str) -> AfterValidator:
    """Refuses shorter durations."""

    def check(us: int) -> int:
        if us < parse_duration(least):
            raise BadValueError(f"{format_duration(us)} is too short", hint=f"at least {least}")
        return us

    return AfterValidator(check)


def _follow() -> Any:
    return Field(
        default=False,
        description="Symbolic links on the way to a file: url are followed, once when it is opened. Left out: such a "
        "place is refused, as whoever can exchange the link would choose where storaged works.",
    )


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


class Section(BaseModel):
    """A frozen part of the file in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Capacity(Section):
    """How full a tier may become. What is there counts, also what graces keep and users have in roots of that tier."""

    size: Size = Field(gt=0, description="How much the tier holds: nothing that storaged does puts more there.")
    high: Percent = Field(
        description="Above this share of the size, policies with `tier_full_above: high` move objects out until `low` "
        "is reached; what policies bring up fills the tier to this share only."
    )
    low: Percent = Field(description="Moving out stops at this share of the size.")

    @field_validator("low")
    @classmethod
    def _below_high(cls, low: float, info: ValidationInfo) -> float:
        high = info.data.get("high")
        if high is not None and low >= high:
            message = f"low ({low * 100:g}%) is not below high ({high * 100:g}%)"
            raise BadValueError(message, hint="such as high: 85% and low: 70%")
        return low


class BudgetSettings(Section):
    """How much of a store the daemons may use, all together."""

    bytes_per_second: Size | None = Field(default=None, gt=0, description="Content read and written, such as 50MiB.")
    requests_per_second: float | None = Field(default=None, gt=0, description="Requests of any kind.")


class TierSettings(Section):
    """A named rank on a store."""

    rank: int = Field(ge=0, le=1000, description="Order of the tiers: 0 is the hottest. No two tiers share a rank.")
    url: StoreUrl = Field(description="Where its blobs are, such as file:///srv/tiers/hot. storaged owns all below it.")
    follow: bool = _follow()
    storage_class: Text = Field(default=DEFAULT_CLASS, description="The store's own name of the storage class.")
    read_latency: Duration = duration_field("0", "How long a reader waits for the first byte, such as 50ms or 12h.")
    capacity: Capacity | None = Field(default=None, description="How full it may become. Without it: no limit.")
    prices: Text | None = Field(
        default=None, description="What it costs: an id of a price book, such as aws/us-east-1/standard-ia."
    )
    budget: BudgetSettings = Field(
        default_factory=BudgetSettings,
        description="How much of it daemons may use. Left out: no limit. Roots of datasets on the same bucket or disk "
        "do not count.",
    )

    def value(self, name: str) -> Tier:
        capacity = self.capacity
        return Tier(
            name=name,
            rank=self.rank,
            url=self.url,
            storage_class=self.storage_class,
            read_latency_s=self.read_latency / SECOND,
            capacity_bytes=capacity.size if capacity else None,
            high_watermark=capacity.high if capacity else None,
            low_watermark=capacity.low if capacity else None,
            prices=self.prices,
        )


class DatasetSettings(Section):
    """A named set of objects under a root that storaged does not own."""

    root: StoreUrl = Field(description="Where its objects are, such as file:///srv/data/flights.")
    follow: bool = _follow()
    tier: Text = Field(
        default="",  # filled in on loading
        description="The tier whose rank and prices the root has. Left out: the hottest.",
        json_schema_extra=_without_default,
    )
    owner: str = Field(default="", description="Who answers for it; free text.")
    tags: dict[Text, str] = Field(default={}, description="Free key and value texts that policies can select by.")
    partitions: Partitions | None = Field(
        default=None,
        description="Where partition keys are in the names of objects, such as dt={dt}/hour={hour}. Behind a = values "
        "are read as Hive writes them: %3A is a colon, and __HIVE_DEFAULT_PARTITION__ is no value.",
    )
    readers: Readers = Field(
        default=Readers.RAW,
        description="`raw`: others read its paths, so it stays where it is. `storaged`: all read through storaged.",
    )
    hold: Text | None = Field(default=None, description="Reason of a legal hold: nothing of it is moved or deleted.")
    claim: Literal["file", "attribute"] = Field(
        default="file",
        description="Where the root says which catalog works there. `file`: in a folder .storaged. `attribute`: in an "
        "extended attribute of the root directory; a folder .storaged is there only while something is returned or "
        "deleted. After a change run `storagectl catalog claim dataset:NAME`.",
    )
    remove_empty_folders: bool = Field(
        default=False,
        description="Folders below the root that a release leaves empty are removed with it; the root never is. "
        "Programs that write there must make their folders.",
    )
    scan: Schedule | None = Field(
        default=None, description="When the daemon scans it, in UTC. Left out: as `daemon.scan` says."
    )
    pin: Text | None = Field(default=None, description="A tier that a person fixed for all of it.")

    @model_validator(mode="after")
    def _attributes_are_local(self) -> Self:
        if self.claim == "attribute" and not self.root.startswith("file:"):
            raise BadValueError(
                "claim: attribute is for directories, and the root is none", hint="leave claim out of this dataset"
            )
        return self

    def value(self, name: str) -> Dataset:
        return Dataset(
            name=name,
            root=self.root,
            tier=self.tier,
            owner=self.owner,
            tags=self.tags,
            partitions=self.partitions,
            readers=self.readers,
            hold=self.hold,
            pin=self.pin,
        )


class BucketSettings(Section):
    """How a bucket is reached. What is left out is what the store's own client takes: environment, profile, role."""

    endpoint: EndpointUrl | None = Field(
        default=None, description="URL of a server that is not AWS, such as https://minio.example.org:9000."
    )
    region: Text | None = Field(default=None, description="Its region, such as eu-central-1.")
    profile: Text | None = Field(default=None, description="The profile in ~/.aws/config that may work on it.")
    path_style: bool = Field(
        default=False, description="Name the bucket in the path instead of the host; many servers need it."
    )

    def value(self) -> Access:
        return Access(self.endpoint, self.region, self.profile, self.path_style)


LogFormatName = Literal["jsonl", "s3-access"]  # those of storaged.work.ingest that a person may choose


LogKey = Literal["ts", "op", "url", "dataset", "object", "bytes", "count", "agent", "requester", "status"]


def _json_key(text: str) -> str:
    if not text or any(not c.isprintable() or c in '"\\' for c in text) or "" in text.split("."):
        raise BadValueError(f"{shown(text)} is no key", hint="such as time, or request.method for one within another")
    return text


def _url_prefix(text: str) -> str:
    refuse_secrets(text)
    if not re.fullmatch(r"[a-z0-9]+://[^\s?#]*", text):
        raise BadValueError(f"{shown(text)} is no begin of a URL", hint="such as s3://bucket or file:///srv/data")
    return text


class HeatSource(Section):
    """A log that tells who read what."""

    name: Name = Field(description="Its name in messages and in the catalog.")
    format: LogFormatName = Field(description="How the log is written.")
    path: LogPath = Field(
        description="Which files: a path in which * and ** stand for names, from this file's directory; or keys of a "
        "store, such as s3://log-bucket/prefix/*."
    )
    lag: Duration | None = Field(
        default=None,
        description="How late a line may reach the log. Left out: 24h for s3-access, 1h for others.",
    )
    since: AwareDatetime | None = Field(
        default=None, description="The log is known to be complete from here, such as 2026-01-31T00:00:00Z."
    )
    datasets: list[Text] | None = Field(
        default=None, min_length=1, description="Globs of the datasets that the log tells of. Left out: all."
    )
    exclude_requesters: list[Text] = Field(
        default=[],
        description="Globs of requesters that are storaged itself, such as arn:aws:sts::*:assumed-role/storaged/*; "
        "what they read does not count.",
    )
    max_malformed: Percent = Field(
        default=0.05,
        description="If more of a file's lines cannot be read as events (of 1,000 in a row, in a large one), what the "
        "log covers ends there.",
        json_schema_extra={"default": "5%"},
    )
    keys: dict[LogKey, Annotated[str, AfterValidator(_json_key)]] = Field(
        default={},
        description="Under which keys a jsonl log of another program has what storaged calls ts, op, url, dataset, "
        "object, bytes, count, agent, requester and status, such as {ts: time, op: request.method, url: request.uri}.",
    )
    url_prefix: Annotated[str, AfterValidator(_url_prefix)] | None = Field(
        default=None,
        description="What stands before each `url` of a jsonl log that is a path only, such as s3://bucket.",
    )

    @model_validator(mode="after")
    def _mapped(self) -> Self:
        if self.format != "jsonl" and (self.keys or self.url_prefix):
            raise BadValueError(f"keys and url_prefix are for jsonl, and the format is {self.format}")
        return self

    def placed(self, base: Path) -> HeatSource:
        return self if "://" in self.path else self.model_copy(update={"path": str(base / self.path)})


class Limits(Section):
    """Where a run stops. None: no such limit."""

    max_objects: int | None = Field(default=None, ge=1, description="At most so many objects.")
    max_bytes: Size | None = Field(default=None, description="At most so many bytes.")
    max_percent: Percent | None = Field(
        default=None, description="If more of the target's objects match, none is acted on."
    )
    stop_on_error_rate: Percent | None = Field(
        default=None, description="Stop when more of the objects than this fail."
    )
    max_spend: Money | None = Field(default=None, description="At most so much money, such as 50 USD.")
    max_spend_per_month: Money | None = Field(
        default=None, description="At most so much money for each policy in a calendar month (UTC), such as 200 USD."
    )


def _scheduler(text: str) -> str:
    refuse_secrets(text)
    if not re.fullmatch(r"(tcp|tls)://[^\s/]+:\d{1,5}", text):
        raise BadValueError(
            f"{shown(text)} is no address of a scheduler", hint="such as tcp://scheduler.example.org:8786"
        )
    return text


class WorkerSettings(Section):
    """How the daemon works through jobs."""

    engine: Literal["threads", "dask"] = Field(
        default="threads",
        description="Where jobs run: in threads of the daemon, or on a Dask cluster (needs a Postgres catalog).",
    )
    address: Annotated[str, AfterValidator(_scheduler)] | None = Field(
        default=None, description="The scheduler of the Dask cluster, such as tcp://scheduler.example.org:8786."
    )
    threads: int = Field(default=8, ge=1, le=256, description="How many objects of a job are worked on at a time.")
    batch_objects: int = Field(default=1000, ge=1, description="At most so many objects in one job.")
    batch_bytes: Size = Field(
        default=parse_size("256MiB"),
        gt=0,
        description="Small objects are put into one job up to so many bytes.",
        json_schema_extra={"default": "256MiB"},
    )
    lease: Annotated[Duration, at_least("1s")] = duration_field(
        "60s", "A worker without a sign of life for this long has lost its job."
    )

    @model_validator(mode="after")
    def _reached(self) -> Self:
        if self.engine == "dask" and self.address is None:
            raise BadValueError("engine is dask, and no address is given", hint="such as address: tcp://host:8786")
        if self.engine == "threads" and self.address is not None:
            raise BadValueError("an address is given, and engine is threads", hint="write engine: dask, or no address")
        return self
