r"""Amazon S3 server access logs, and what other stores write in that form: one line per request, fields between spaces.

    owner bucket [06/Feb/2019:00:00:38 +0000] 192.0.2.3 requester 3E57 REST.GET.OBJECT a.csv "GET /a.csv HTTP/1.1"
    200 - 4096 4096 27 13 "-" "curl/8.0" - hostid SigV4 cipher AuthHeader host TLSv1.2 - -    (all in one line)

What counts as a read or a write, what else is in a line, and how late S3 delivers it: docs/access-logs.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from storaged.clock import DAY
from storaged.work.ingest.base import LARGEST_MOVED, LogFormat

# Which operations read or write an object's content, if they succeed. All others are ignored. The destination of a copy
# is one record, its source another one; parts of an upload are nothing before the upload is completed.
OPERATIONS: Final[Mapping[str, str]] = {
    "REST.GET.OBJECT": "read",
    "WEBSITE.GET.OBJECT": "read",
    "REST.COPY.OBJECT_GET": "read",
    "REST.COPY.PART_GET": "read",
    "REST.SELECT.OBJECT": "read",
    "REST.GET.get_obj": "read",  # older Ceph
    "REST.PUT.OBJECT": "write",
    "REST.POST.OBJECT": "write",
    "REST.POST.UPLOAD": "write",
    "REST.COPY.OBJECT": "write",
    "REST.PUT.put_obj": "write",
}

# With status 304 the caller has the content already. Ceph may log before it knows the status.
SUCCEEDED: Final = ("200", "206", "-")

# Every field, in order. Clients write what they like into the request, the referer and the agent, quotes included; but
# no space can be in the request's target, and after the agent no field has quotes.
FIELDS: Final[Mapping[str, str]] = {
    "bucket_owner": r"(\S+)",
    "bucket": r"(\S+)",
    "time": r"\[([^\]]*)\]",
    "remote_ip": r"(\S+)",
    "requester": r"(\S+)",
    "request_id": r"(\S+)",
    "operation": r"(\S+)",
    "key": r"(.+?)",  # Ceph does not encode it
    "request_uri": r'(-|"-"|"\S+ \S+(?: HTTP/[0-9.]+)?")',
    "http_status": r"(\d\d\d|-)",
    "error_code": r"(\S+)",
    "bytes_sent": r"(\d+|-)",
    "object_size": r"(\d+|-)",
    "total_time": r"(\S+)",
    "turn_around_time": r"(\S+)",
    "referer": r'(".*?"|[^" ]\S*)',
    "user_agent": r'(".*"|[^" ]\S*)',
    "version_id": r'([^" ]+)',
}
LATER_FIELDS: Final = (  # that were added to the end over the years, and whatever will be
    "host_id",
    "signature_version",
    "cipher_suite",
    "authentication_type",
    "host_header",
    "tls_version",
    "access_point_arn",
    "acl_required",
    "source_region",
)
_USED: Final = ("bucket", "time", "requester", "operation", "key", "http_status", "bytes_sent", "user_agent")
_SPACE: Final = " "
TRIMMED: Final = r"rtrim(line, e'\r\n')"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def fields(line: str, *wanted: str) -> str:
    """SQL that takes a line apart: a struct of these FIELDS, in their order, and `later`, the text of all LATER_FIELDS.
    All texts are empty where it is no such line."""
    parts = [part if name in wanted else part.replace("(", "(?:", 1) for name, part in FIELDS.items()]
    later = '([^"]*)' if "later" in wanted else '[^"]*'
    names = ", ".join(_quoted(name) for name in (*FIELDS, "later") if name in wanted)
    return f"regexp_extract({line}, {_quoted(f'^{_SPACE.join(parts)}(?: {later})?$')}, [{names}])"


def _op() -> str:
    cases = " ".join(f"WHEN {_quoted(name)} THEN {_quoted(op)}" for name, op in OPERATIONS.items())
    return f"CASE operation {cases} ELSE 'other' END"


# Nearly every line is *plain*: quotes stand around the request, the referer and the agent and nowhere else. Splitting
# such a line at them, and the parts at spaces, takes a tenth of the time of the regular expression, which is for the
# others. Lines are split no further than their operation needs.
SELECT: Final = f"""
    WITH cut AS (
        SELECT i, line, string_split(line, '"') AS q FROM lines WHERE line NOT IN (e'\\n', e'\\r\\n')
    ), headed AS (
        SELECT *, string_split(q[1], ' ') AS h FROM cut
    ), told AS (
        SELECT *, len(h) = 10 AND len(q) = 7 AND q[5] = ' ' AND h[4] = '+0000]' AS plain FROM headed
    ), parted AS (
        SELECT i, line, q, h, plain, CASE WHEN NOT plain THEN {fields(TRIMMED, *_USED)} END AS f FROM told
    ), named AS (
        SELECT i, line, q, plain, f,
            CASE WHEN plain THEN try_strptime(h[3], '[%d/%b/%Y:%H:%M:%S')
                ELSE try_strptime(f.time, '%d/%b/%Y:%H:%M:%S %z') END AS instant,
            CASE WHEN plain THEN h[2] ELSE f.bucket END AS bucket,
            CASE WHEN plain THEN h[6] ELSE f.requester END AS requester,
            CASE WHEN plain THEN h[8] ELSE f.operation END AS operation,
            CASE WHEN plain THEN h[9] ELSE f.key END AS key
        FROM parted
    ), judged AS (
        SELECT *, {_op()} AS op FROM named
    ), answered AS (
        SELECT *, CASE WHEN plain AND op <> 'other' THEN string_split(q[3], ' ') END AS m FROM judged
    ), valued AS (
        SELECT *,
            CASE WHEN plain THEN m[2] ELSE f.http_status END AS status,
            CASE WHEN plain THEN m[4] ELSE f.bytes_sent END AS sent,
            TRY_CAST(sent AS BIGINT) AS moved,
            CASE WHEN plain THEN q[6] ELSE trim(f.user_agent, '"') END AS agent
        FROM answered
    )
    SELECT i, line,
        CASE
            WHEN operation = '' THEN 'it has not the fields of an access log'
            WHEN instant IS NULL THEN 'its time is none'
            WHEN op = 'other' THEN NULL
            WHEN status IS NULL OR sent IS NULL THEN 'it has not the fields of an access log'
            WHEN status <> '-' AND TRY_CAST(status AS SMALLINT) IS NULL THEN 'its status is no number'
            WHEN sent <> '-' AND coalesce(moved NOT BETWEEN 0 AND {LARGEST_MOVED}, true)
                THEN 'what it sent is no number of bytes'
        END AS wrong,
        epoch_us(instant) AS at_us,
        CASE WHEN key <> '-' THEN 's3://' || bucket || '/' || key END AS url,
        CAST(NULL AS VARCHAR) AS dataset,
        CAST(NULL AS VARCHAR) AS object,
        CASE WHEN op <> 'other' AND status NOT IN {SUCCEEDED} THEN 'failed' ELSE op END AS op,
        CASE
            WHEN op <> 'read' THEN 0
            WHEN sent <> '-' THEN moved
            WHEN status = '206' OR operation = 'REST.COPY.PART_GET' THEN 0
        END AS nbytes,
        CAST(1 AS BIGINT) AS "count",
        agent,
        requester
    FROM valued
"""  # noqa: S608  our own text

S3_ACCESS: Final = LogFormat("s3-access", SELECT, encoded=2, lag_us=DAY, nowhere="it names no key")
