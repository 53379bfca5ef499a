"""What the scripts find out about a machine before they build or start anything.  No Docker needed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
MACHINE = SCRIPTS / "machine"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(MACHINE))
    spec = importlib.util.spec_from_file_location(name, MACHINE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("address_pool", monkeypatch)


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("base_sources", monkeypatch)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("pip_settings", monkeypatch)


@pytest.fixture
def certificates(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("machine_certificates", monkeypatch)


# --- the address pool of a dockerd that we start


def test_a_machine_with_a_default_route_gets_the_first_pool(pool: ModuleType) -> None:
    assert pool.choose("default via 192.0.2.1 dev eth0\n192.0.2.0/24 dev eth0 src 192.0.2.2") == "172.30.0.0/16"


@pytest.mark.parametrize(
    "line",
    [
        "172.30.4.0/24 dev br-1",
        "172.16.0.0/12 via 10.1.1.1",
        "unreachable 172.30.0.0/16",
        "inet 172.30.255.1/32",
        "nameserver 172.30.0.53",
    ],
)
def test_a_pool_never_overlaps_what_is_routed_or_addressed(pool: ModuleType, line: str) -> None:
    assert pool.choose(line) != "172.30.0.0/16"


def test_a_machine_that_routes_all_private_networks_gets_none(pool: ModuleType) -> None:
    assert pool.choose("172.16.0.0/12 dev tun0\n192.168.0.0/16 dev tun0") is None


# --- this machine's Debian mirrors, for another suite


def target(uri: str, codename: str, origin: str = "Debian", label: str = "Debian", entry: str = "") -> str:
    fields = {"Repo-URI": uri, "Codename": codename, "Origin": origin, "Label": label, "Sourcesentry": entry}
    return "\n".join(f"{name}: {value}" for name, value in fields.items()) + "\n\n"


def test_suites_are_rewritten_and_only_debians_own_are_taken(sources: ModuleType) -> None:
    targets = (
        target("http://mirror/debian/", "bookworm")
        + target("http://mirror/debian/", "bookworm-updates")
        + target("http://mirror/debian-security/", "bookworm-security", label="Debian-Security")
        + target("http://mirror/debian/", "bookworm-backports", "Debian Backports", "Debian Backports")
        + target("http://mirror/debian/", "bookworm-proposed-updates")
        + target("https://elsewhere/linux/debian/", "bookworm", "Docker", "Docker CE")
        + target("file:/srv/debian/", "bookworm")
        + target("http://mirror/debian/", "bookworm")
    )
    key = sources.DEBIAN_KEYRING
    assert sources.rewrite(targets, "trixie") == [
        ("http://mirror/debian/", "trixie", key),
        ("http://mirror/debian/", "trixie-updates", key),
        ("http://mirror/debian-security/", "trixie-security", key),
    ]


def test_unstable_and_newer_releases_lead_to_the_same_suite(sources: ModuleType) -> None:
    rows = sources.rewrite(target("http://m/debian/", "sid") + target("http://m/", "forky-security"), "trixie")
    assert [row[1] for row in rows] == ["trixie", "trixie-security"]


@pytest.mark.parametrize("style", ["one-line", "deb822"])
def test_a_mirrors_own_key_goes_along(sources: ModuleType, tmp_path: Path, style: str) -> None:
    if style == "one-line":
        file, number = tmp_path / "sources.list", 2
        file.write_text("# mirror\ndeb [arch=amd64 signed-by=/etc/apt/keyrings/own.gpg] http://m/debian sid main\n")
    else:
        file, number = tmp_path / "own.sources", 2
        file.write_text("Types: deb\nURIs: http://x\n\nTypes: deb\n# note\nSigned-By:\n /etc/apt/keyrings/own.gpg\n")
    rows = sources.rewrite(target("http://m/debian/", "bookworm", entry=f"{file}:{number}"), "trixie")
    assert rows == [("http://m/debian/", "trixie", "/etc/apt/keyrings/own.gpg")]


def test_the_file_is_one_that_apt_reads(sources: ModuleType) -> None:
    text = sources.render([("http://m/debian/", "trixie", "/k.gpg"), ("http://s/", "trixie-security", "/k.gpg")])
    assert [fields["suites"] for fields in sources.stanzas(text)] == ["trixie", "trixie-security"]


# --- pip's settings inside a container


def test_folders_of_this_machine_are_left_out_and_variables_win(pip: ModuleType) -> None:
    file = "[global]\nextra-index-url = file:///opt/pypi/simple https://pypi.example/simple\nfind-links = /opt/wheels\n"
    environ = {"PIP_DEFAULT_TIMEOUT": "180", "PIP_FIND_LINKS": "/opt/wheels", "PIP_CERT": "/etc/ssl/ca.pem"}
    found = pip.settings([file, "[global]\ntimeout = 5\ncert = /other.pem\n"], environ)
    assert found["cert"] == ["/etc/ssl/ca.pem"]
    text = pip.render(pip.portable(found))
    assert "timeout = 180" in text
    assert "extra-index-url = https://pypi.example/simple\n" in text
    assert "/opt" not in text


def test_a_broken_pip_file_is_passed_over(pip: ModuleType) -> None:
    assert pip.settings(["no section\n", "[global]\nretries = 9\n"], {}) == {"retries": ["9"]}


# --- certificates


def test_authorities_beyond_debians_are_found_once(certificates: ModuleType) -> None:
    ours, debians = certificates.pem("T3Vycw=="), certificates.pem("RGViaWFu")
    machine = list(certificates.certificates(ours + debians + "comment\n" + ours.replace("\n", "\r\n")))
    assert list(certificates.extra(machine, certificates.certificates(debians))) == ["T3Vycw=="]


# --- versions, as programs write them


@pytest.mark.parametrize(
    ("version", "enough"),
    [("2.20.0", True), ("2.26.1-4", True), ("5.6.1", True), ("2.9.0", False), ("1.29.2-3", False), ("", False)],
)
def test_compose_is_taken_from_the_version_that_knows_include(version: str, enough: bool) -> None:
    assert (bash(f"at_least '{version}' 2 20").returncode == 0) == enough


# --- the scripts themselves


@pytest.mark.parametrize("script", sorted(str(path.relative_to(SCRIPTS)) for path in SCRIPTS.rglob("*.sh")))
def test_every_script_is_one_that_bash_can_read(script: str) -> None:
    assert subprocess.run(["bash", "-n", SCRIPTS / script], check=False).returncode == 0


def bash(code: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", f". {MACHINE}/stand.sh\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_an_unknown_mode_is_told_before_anything_is_touched() -> None:
    done = subprocess.run(
        [SCRIPTS / "up.sh"], env={"MODE": "nginz", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "MODE=nginz is unknown" in done.stderr


def test_an_engine_elsewhere_that_does_not_answer_is_not_replaced_by_one_here() -> None:
    done = bash("export DOCKER_HOST=tcp://127.0.0.1:9; ensure_engine")
    assert done.returncode == 1
    assert "tcp://127.0.0.1:9" in done.stderr
    assert "starting dockerd" not in done.stderr


def test_a_python_that_is_too_old_is_refused_with_its_version(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; *) echo 3.9 ;; esac\n')
    old.chmod(0o755)
    done = bash(f"PYTHON={old}; ensure_python")
    assert done.returncode == 1
    assert "is 3.9" in done.stderr
    assert "3.11 to 3.14" in done.stderr


@pytest.mark.parametrize(
    ("log", "cure"),
    [
        ("failed to start daemon: pid file found, ensure docker is not running", "/var/run/docker.pid"),
        ("failed to start daemon: Devices cgroup isn't mounted", "cgroupfs-mount"),
        ("unable to configure the Docker daemon with file /etc/docker/daemon.json: unexpected EOF", "daemon.json"),
        ("failed to start daemon: write /var/lib/docker/x: no space left on device", "disk space"),
        ("iptables failed: table `nat' Permission denied", "iptables-legacy"),
    ],
)
def test_a_daemon_that_dies_is_told_with_the_cure(tmp_path: Path, log: str, cure: str) -> None:
    file = tmp_path / "dockerd.log"
    file.write_text(f'time="x" level=info msg="Starting up"\n{log}\n')
    done = bash(f'ENGINE_LOG={file} log_before=0; cure_for "$(failure_in_log)"')
    assert cure in done.stdout
