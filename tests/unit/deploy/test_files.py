"""What the files of `deploy/` promise. No container engine is needed: they are read as text."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc.cli.stopping import EXIT_SECONDS
from cdc.settings import Settings

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "optio-cdc.service"
AWAITED = {"CDC_DASHBOARD_TOKENS"}
"""What comes with the sign-in of the dashboard; to be emptied once that is there."""
STOP_SECONDS = Settings.model_fields["cdc_drain_seconds"].default + EXIT_SECONDS
SECRET_SETTINGS = {
    name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)
}


def text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def without_comments(name: str) -> str:
    return re.sub(r"(^|\s)#.*", "", text(name))


def service(name: str) -> str:
    """One service of compose.yaml."""
    return re.split(r"\n  \w+:\n|\nvolumes:", text("compose.yaml").split(f"\n  {name}:\n", 1)[1])[0]


def named_settings(name: str) -> Iterator[str]:
    pattern = r"(?<![\w{])((?:CDC|ZOHO|SUPABASE)_\w+|DATABASE_URL)\b"
    return iter(sorted(set(re.findall(pattern, without_comments(name)))))


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "render.yaml", "systemd/optio-cdc.service"])
def test_every_variable_is_a_setting(name: str) -> None:
    unknown = {each for each in named_settings(name) if each.lower() not in Settings.model_fields}
    assert unknown <= AWAITED


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "render.yaml", "systemd/optio-cdc.service"])
def test_no_secret_is_in_a_file(name: str) -> None:
    for line in without_comments(name).splitlines():
        given = re.search(r"(\w+)[:=]\s*(\S+)", line)
        if given and (given[1] in SECRET_SETTINGS or "PASSWORD" in given[1]):
            value = line.split(given[1], 1)[1].lstrip(":= ")
            assert re.search(r"\$\{\w+:[?-]", value), f"{name}: {line.strip()}"
    for key in re.findall(r"- key: (\w+)[^\n]*\n\s+value:", text(name)):
        assert key not in SECRET_SETTINGS, key


def test_the_image_runs_as_nobody_with_what_it_needs_and_no_build_tools() -> None:
    build, final = re.split(r"\n(?=FROM )", text("Dockerfile"))[1:]
    assert [
        re.match(r"FROM python:(3\.\d+\.\d+-slim-\w+)( AS build)?\n", stage) is not None for stage in (build, final)
    ]
    assert build.split()[1] == final.split()[1], "what is built for one interpreter runs on another"
    assert re.search(r"^USER (?!0|root)\d+:\d+$", final, re.MULTILINE)
    assert "HEALTHCHECK" in final
    assert '["cdc", "healthcheck"]' in final
    assert "pip uninstall --yes pip setuptools" in build
    assert "pip uninstall --yes pip setuptools" in final
    assert "apt-get" not in text("Dockerfile")
    assert "STOPSIGNAL SIGTERM" in final


def test_what_the_image_copies_exists_and_the_rest_of_the_folder_stays_out() -> None:
    copied = [
        path
        for line in re.findall(r"^COPY (?!--from)(.+)$", text("Dockerfile"), re.MULTILINE)
        for path in line.split()[:-1]
    ]
    ignore = [line for line in text("Dockerfile.dockerignore").splitlines() if line and not line.startswith("#")]
    assert ignore[0] == "*", ".env and .git would be sent along"
    assert {line[1:] for line in ignore if line.startswith("!")} == set(copied)
    assert all((ROOT / path).exists() for path in copied)
    assert {"cdc", "sinks", "sql"} <= set(copied)


@pytest.mark.parametrize("image", re.findall(r"(?:image:|FROM) (\S+)", text("compose.yaml") + text("Dockerfile")))
def test_versions_are_pinned(image: str) -> None:
    assert image == "optio-cdc" or re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", image)


def test_compose_waits_for_health_and_gives_the_pipeline_time_to_stop() -> None:
    for name in ("postgres", "prometheus", "grafana"):
        assert "healthcheck:" in service(name), name
    pipeline = service("pipeline")
    assert "condition: service_healthy" in pipeline
    grace = re.search(r"stop_grace_period: (\d+)s", pipeline)
    assert grace
    assert int(grace[1]) > STOP_SECONDS
    assert "wal_level=logical" in service("postgres")
    for port in re.findall(r'- "(.+:\d+:\d+)"', text("compose.yaml")):
        assert port.startswith("127.0.0.1:"), f"{port} can be reached from elsewhere"


def test_what_compose_mounts_exists() -> None:
    mounted = re.findall(r"- (\.[\w./-]+):/", text("compose.yaml"))
    assert any(path.startswith("../sql/") for path in mounted)
    there = [path for path in mounted if path.startswith("..") or (DEPLOY / "prometheus").is_dir()]
    missing = [path for path in there if not (DEPLOY / path).resolve().exists()]
    assert missing == []


def test_volumes_are_declared() -> None:
    declared = set(re.findall(r"^  ([\w-]+):$", text("compose.yaml").split("\nvolumes:\n")[1], re.MULTILINE))
    used = set(re.findall(r"^\s+- ([\w-]+):/", text("compose.yaml"), re.MULTILINE))
    assert used == declared


def test_render_checks_what_is_served_and_waits_for_a_stop() -> None:
    blueprint = without_comments("render.yaml")
    given = dict(re.findall(r"- key: (\w+)\s+value: \"?([\w.]+)", blueprint))
    assert given["PORT"] == given["CDC_HTTP_PORT"]
    assert given["CDC_HTTP_HOST"] == "0.0.0.0", "Render's health check comes from elsewhere"  # noqa: S104
    assert given["CDC_TRANSPORT"] == "poll"
    delay = re.search(r"maxShutdownDelaySeconds: (\d+)", blueprint)
    assert delay
    assert STOP_SECONDS < int(delay[1]) <= 300
    path = re.search(r"dockerfilePath: \./(\S+)", blueprint)
    assert path
    assert (ROOT / path[1]).is_file()
    served = (ROOT / "cdc" / "web").rglob("*.py")
    health = re.search(r"healthCheckPath: (\S+)", blueprint)
    assert health
    assert any(f'"{health[1]}"' in one.read_text(encoding="utf-8") for one in served)


def test_the_unit_is_told_of_progress_and_gives_time_to_stop() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) > 0
    assert int(service["TimeoutStopSec"]) > STOP_SECONDS
    assert service["RestartPreventExitStatus"] == "2"
    for wanted in ("NoNewPrivileges", "ProtectHome", "PrivateDevices", "DynamicUser"):
        assert service[wanted] == "yes"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """As it is, but for the program and its settings, which aren't there."""
    lines = UNIT.read_text(encoding="utf-8").replace("/opt/optio-cdc/bin/cdc", "/bin/true")
    (tmp_path / UNIT.name).write_text(lines, encoding="utf-8")
    done = subprocess.run(
        [shutil.which("systemd-analyze") or "", "verify", str(tmp_path / UNIT.name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")
