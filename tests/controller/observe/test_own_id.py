"""Which container we run in: mounts as engines make them, and those of others among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastroute.controller.observe.own_id import own_id

OWN, OTHER = "a1" * 32, "0b" * 32


def mounts(*lines: tuple[str, str]) -> str:
    return "".join(
        f"{700 + at} 640 254:1 {root} {place} rw,relatime - ext4 /dev/vda1 rw\n"
        for at, (root, place) in enumerate(lines)
    )


def files(folder: str) -> list[tuple[str, str]]:
    return [(f"{folder}/{file}", f"/etc/{file}") for file in ("resolv.conf", "hostname", "hosts")]


@pytest.mark.parametrize("folder", [
    f"/var/lib/docker/containers/{OWN}",
    f"/{OWN}",
    f"/containers/{OWN}",
    f"/containers/storage/overlay-containers/{OWN}/userdata",
    f"/var/lib/docker/volumes/inner/_data/containers/{OTHER}/mounts/x/containers/{OWN}",
])  # fmt: skip
@pytest.mark.parametrize("others", [
    [],
    [(f"/var/lib/docker/containers/{OTHER}/mounts/shm", "/dev/shm")],
    [(f"/var/lib/docker/containers/{OTHER}/mounts/secrets/x", "/run/secrets/token")],
    [(f"/var/lib/docker/containers/{OTHER}/hosts", "/shared/etc/hosts"), ("/srv/hosts", "/etc/hosts")],
    [("/var/lib/docker/containers", "/logs"), ("/etc/hostname", "/etc/hostname")],
])  # fmt: skip
def test_it_is_found_among_mounts_of_others(tmp_path: Path, folder: str, others: list[tuple[str, str]]) -> None:
    file = tmp_path / "mountinfo"
    for lines in ([*others, *files(folder)], [*files(folder), *others]):
        file.write_text(mounts(("/", "/"), *lines))
        assert own_id(file) == OWN


@pytest.mark.parametrize("lines", [
    [],
    [(f"/var/lib/docker/containers/{OTHER}/mounts/shm", "/dev/shm")],
    [(f"/var/lib/docker/containers/{OTHER}/hosts", "/mnt/hosts")],
    [("/etc/hosts", "/etc/hosts"), ("/run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf")],
])  # fmt: skip
def test_outside_of_containers_there_is_none(tmp_path: Path, lines: list[tuple[str, str]]) -> None:
    file = tmp_path / "mountinfo"
    file.write_text(mounts(("/", "/"), *lines))
    assert own_id(file) == ""
    assert own_id(tmp_path / "none") == ""
