"""A mistake in nginx mode's settings is said before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastroute.controller.nginx_mode.mode import check_nginx
from fastroute.controller.settings import ControllerSettings
from fastroute.router.config.configuration import ConfigurationError


def _settings(tmp_path: Path) -> ControllerSettings:
    return ControllerSettings(
        mode="nginx", nginx_conf_dir=str(tmp_path / "conf"), nginx_template_dir=str(tmp_path / "templates")
    )


def test_a_missing_template_directory_is_named_with_its_option_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"^nginx-template-dir: {tmp_path}/templates: a directory expected$"):
        check_nginx(_settings(tmp_path))
    assert not (tmp_path / "conf").exists()


def test_a_broken_template_makes_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "templates/listen.conf.j2"
    broken.parent.mkdir()
    broken.write_text("listen {{ nope }};\n")
    with pytest.raises(ConfigurationError, match=f"{broken}:1: 'nope' is undefined"):
        check_nginx(_settings(tmp_path))
    assert not (tmp_path / "conf").exists()


def test_sound_settings_make_the_directory(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    check_nginx(_settings(tmp_path))
    assert (tmp_path / "conf").is_dir()
