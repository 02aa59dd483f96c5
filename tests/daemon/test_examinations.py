"""Doctor is a task of the daemon, and what it found last is kept for the pages."""

from __future__ import annotations

from storaged.catalog.schema_approvals import examinations
from storaged.work.doctor.examination import newest
from tests.daemon.farm import DAY, HOUR, Farm, awake


def test_doctor_is_asked_once_a_day_and_what_it_finds_is_kept_until_the_next_time(farm: Farm) -> None:
    farm.configure(daemon='doctor: "10 1 * * *"\n')
    daemon = awake(farm)
    farm.clock.advance(2 * HOUR)
    assert "doctor" in daemon.turns()
    with farm.catalog.read() as conn:
        first = newest(conn)
    assert first is not None
    assert "no-backup" in {finding.check for finding in first.findings}
    (farm.place / "warm" / ".storaged").rename(farm.place / "warm" / "gone")
    farm.clock.advance(DAY)
    assert "doctor" in daemon.turns()
    with farm.catalog.read() as conn:
        second = newest(conn)
    assert second is not None
    assert second.at_us > first.at_us
    assert "tier:warm" in {finding.subject for finding in second.findings}
    assert second.to_mend > first.to_mend
    assert farm.count(examinations) == 1
