"""The scripts of `deploy/backup/` on a real PostgreSQL: what is archived, kept, let go, and refused."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.archived import SCRIPTS, Archived, archived
from tests.ground import eventually

TIME = "2026-11-24T18:30:00+08:00"


@pytest.fixture
def it(data_folder: Path) -> Iterator[Archived]:
    with archived(data_folder) as running:
        yield running


def script(name: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    told = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run([SCRIPTS / name, *arguments], env=told, capture_output=True, text=True, check=False)


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    made = tmp_path / "000000010000000000000001"
    made.write_bytes(b"what was committed")
    return made


# ── the archive ──────────────────────────────────────────────────────────────────────────────────


def test_a_segment_is_archived_and_comes_back_as_it_was(tmp_path: Path, segment: Path) -> None:
    assert script("archive.sh", segment, segment.name, BACKUP_FOLDER=str(tmp_path)).returncode == 0
    back = tmp_path / "back"
    assert script("fetch.sh", segment.name, back, BACKUP_FOLDER=str(tmp_path)).returncode == 0
    assert back.read_bytes() == b"what was committed"
    assert [place.name for place in (tmp_path / "wal").iterdir()] == [f"{segment.name}.gz"]


def test_the_same_segment_again_is_no_error(tmp_path: Path, segment: Path) -> None:
    for _ in range(2):
        assert script("archive.sh", segment, segment.name, BACKUP_FOLDER=str(tmp_path)).returncode == 0


def test_another_segment_of_the_same_name_is_refused_and_the_first_stays(
    tmp_path: Path, segment: Path
) -> None:
    script("archive.sh", segment, segment.name, BACKUP_FOLDER=str(tmp_path))
    segment.write_bytes(b"of another server")
    refused = script("archive.sh", segment, segment.name, BACKUP_FOLDER=str(tmp_path))
    assert refused.returncode == 1
    assert "differs" in refused.stderr
    with gzip.open(tmp_path / "wal" / f"{segment.name}.gz") as kept:
        assert kept.read() == b"what was committed"


def test_what_was_half_written_before_a_crash_is_not_taken_for_a_segment(
    tmp_path: Path, segment: Path
) -> None:
    (tmp_path / "wal").mkdir()
    (tmp_path / "wal" / f".{segment.name}.half").write_bytes(b"wha")
    assert script("fetch.sh", segment.name, tmp_path / "x", BACKUP_FOLDER=str(tmp_path)).returncode == 1
    assert script("archive.sh", segment, segment.name, BACKUP_FOLDER=str(tmp_path)).returncode == 0
    assert [place.name for place in (tmp_path / "wal").iterdir()] == [f"{segment.name}.gz"]


def test_a_full_archive_keeps_the_segment_in_the_server(tmp_path: Path, segment: Path) -> None:
    (tmp_path / "wal").write_text("no folder can be made here")
    assert script("archive.sh", segment, segment.name, BACKUP_FOLDER=str(tmp_path)).returncode != 0


# ── base backups ─────────────────────────────────────────────────────────────────────────────────


async def test_the_newest_base_backups_are_kept_with_the_wal_they_need(it: Archived) -> None:
    first = it.base_backup()
    await it.archive_all()
    before = it.segments
    assert it.bases == [first]
    (it.backups / "base" / first).rename(it.backups / "base" / "20200101T000000Z")
    second = it.base_backup(BACKUP_KEEP="1")
    assert it.bases == [second]
    needed = (it.backups / "base" / second / "first-wal").read_text().strip()
    await it.archive_all()
    assert min(it.segments) >= needed
    assert set(before) - set(it.segments), "older WAL is let go"


def test_a_broken_base_backup_gets_no_name(it: Archived) -> None:
    failed = it.run("base-backup.sh", PGUSER="nobody-knows")
    assert failed.returncode != 0
    assert it.bases == []


def test_health_is_a_base_backup_younger_than_a_day(it: Archived) -> None:
    assert it.run("healthy.sh").returncode == 1
    made = it.backups / "base" / it.base_backup()
    assert it.run("healthy.sh").returncode == 0
    yesterday = made.stat().st_mtime - 27 * 3600
    os.utime(made, (yesterday, yesterday))
    assert it.run("healthy.sh").returncode == 1


async def test_an_archive_that_fails_is_not_healthy_until_it_is_mended(it: Archived) -> None:
    it.base_backup()
    await it.archive_all()
    assert it.run("healthy.sh").returncode == 0
    wal = it.backups / "wal"
    aside = wal.rename(it.backups / "aside")
    wal.write_text("in the way")
    await it.close_segment()

    async def failed() -> bool:
        return await it.ask("SELECT failed_count > 0 FROM pg_stat_archiver") == "True"

    await eventually(failed, "a failure to archive")
    ill = it.run("healthy.sh")
    assert ill.returncode == 1
    assert "archive" in ill.stderr
    assert it.run("healthy.sh", "24").returncode == 0, "what the schedule asks"
    wal.unlink()
    aside.rename(wal)
    await it.archive_all()
    assert it.run("healthy.sh").returncode == 0


def test_the_schedule_makes_one_at_once_when_there_is_none_and_ends_when_told(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    shutil.copytree(SCRIPTS, scripts)
    (scripts / "base-backup.sh").write_text(
        '#!/bin/sh\nmkdir -p "$BACKUP_FOLDER/base/20260101T000000Z"\necho made\n'
    )
    told = {"PATH": os.environ["PATH"], "BACKUP_FOLDER": str(tmp_path)}
    with subprocess.Popen([scripts / "schedule.sh"], env=told, stdout=subprocess.PIPE, text=True) as schedule:
        assert schedule.stdout is not None
        assert schedule.stdout.readline() == "made\n"
        schedule.terminate()
        assert schedule.wait(10) == 0


# ── what restore refuses ─────────────────────────────────────────────────────────────────────────


def test_restore_refuses_while_the_server_runs(it: Archived) -> None:
    it.base_backup()
    refused = it.run("restore.sh")
    assert refused.returncode == 1
    assert "runs" in refused.stderr


@pytest.mark.parametrize(
    ("time", "why"),
    [
        ("2026-11-24 18:30:00", "zone"),
        ("2026-11-24T18:30:00", "zone"),
        ("2020-01-01T00:00:00Z", "no base backup"),
        ("", "no base backup"),
    ],
)
def test_restore_refuses_a_time_it_cannot_reach(tmp_path: Path, time: str, why: str) -> None:
    (tmp_path / "base").mkdir()
    refused = script("restore.sh", time, BACKUP_FOLDER=str(tmp_path), PGDATA=str(tmp_path / "cluster"))
    assert refused.returncode == 1
    assert why in refused.stderr
    assert not (tmp_path / "cluster").exists()


def test_restore_moves_what_is_there_aside_and_takes_the_newest_base_before_the_time(it: Archived) -> None:
    old = it.base_backup()
    base = it.backups / "base"
    (base / old).rename(base / "20260101T000000Z")
    newest = it.base_backup()
    cluster = it.backups / "elsewhere"
    told = {"PGDATA": str(cluster), "PGHOST": ""}
    done = it.run("restore.sh", "2026-06-01T08:00:00+08:00", **told)
    assert done.stdout.startswith("restored 20260101T000000Z"), done.stderr
    assert (cluster / "recovery.signal").exists()
    again = it.run("restore.sh", **told)
    assert "lies in" in again.stdout
    assert f"restored {newest}" in again.stdout
    assert len(list(it.backups.glob("elsewhere.before-*/PG_VERSION"))) == 1


async def test_the_target_of_an_earlier_restore_does_not_bind_a_later_one(it: Archived) -> None:
    await it.ask("ALTER SYSTEM SET recovery_target_time = '2026-06-01 08:00:00+08'")
    it.base_backup()
    cluster = it.backups / "elsewhere"
    assert it.run("restore.sh", PGDATA=str(cluster), PGHOST="").returncode == 0
    assert "2026-06-01" not in (cluster / "postgresql.auto.conf").read_text()
