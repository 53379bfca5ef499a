"""The whole configuration with a candidate in it: what nginx would read, and nothing it could start with is touched."""

from pathlib import Path

import pytest

from fastroute.controller.nginx.candidate_config import CandidateProblem, candidate_config, includes


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    etc = tmp_path / "nginx"
    for name in ("conf.d", "fastroute", "certs"):
        (etc / name).mkdir(parents=True)
    (etc / "mime.types").write_text("types {}")
    (tmp_path / "into").mkdir()
    return etc


def mirrored(etc: Path, main: str) -> tuple[Path, str]:
    (etc / "nginx.conf").write_text(main)
    link, candidate = etc / "fastroute" / "fastroute.conf", Path("/candidate/fastroute.conf")
    copy = candidate_config(etc / "nginx.conf", link, candidate, etc.parent / "into")
    return copy, copy.read_text()


@pytest.mark.parametrize("include", ["{etc}/fastroute/*.conf", "fastroute/*.conf", "'{etc}/fastroute/fastroute.conf'",
                                     '"{etc}/fast*/*.conf"', "{etc}/conf.d/../fastroute/*.conf"])  # fmt: skip
def test_the_include_of_the_live_files_becomes_one_of_the_candidate(etc: Path, include: str) -> None:
    (etc / "fastroute" / "fastroute.conf").symlink_to("generations/x/fastroute.conf")
    _, text = mirrored(
        etc, f"events {{}} # include x;\nhttp {{ include mime.types;include {include.format(etc=etc)}; }}"
    )
    assert 'include "/candidate/fastroute.conf";' in text
    assert text.startswith("events {} # include x;\nhttp { include mime.types;include")
    assert "fastroute/*" not in text


def test_relative_names_still_mean_the_same(etc: Path) -> None:
    copy, _ = mirrored(etc, "http { include mime.types; include fastroute/*.conf; }")
    assert (copy.parent / "mime.types").read_text() == "types {}"
    assert (copy.parent / "certs").resolve() == (etc / "certs").resolve()
    assert (etc / "nginx.conf").read_text().count("fastroute") == 1


def test_files_on_the_way_are_copied_and_their_neighbours_stay(etc: Path) -> None:
    (etc / "conf.d" / "a.conf").write_text("a;")
    (etc / "conf.d" / "b.conf").write_text(f"include {etc}/fastroute/*.conf;")
    (etc / "fastroute" / "own.conf").write_text("own;")
    copy, text = mirrored(etc, f"http {{ include {etc}/conf.d/*.conf; }}")
    first, second = [argument for _, _, argument in includes(text)]
    assert first == str(etc / "conf.d" / "a.conf")
    nested = Path(second).read_text()
    assert Path(second).parent == copy.parent
    assert [argument for _, _, argument in includes(nested)] == [
        "/candidate/fastroute.conf",
        str(etc / "fastroute" / "own.conf"),
    ]


def test_who_never_includes_it_is_told_what_to_write(etc: Path) -> None:
    with pytest.raises(CandidateProblem, match=r"put 'include .*/fastroute/\*\.conf;' into its http block"):
        mirrored(etc, "http { # include fastroute/*.conf;\n log_format x 'include fastroute/*.conf;'; }")


def test_a_configuration_that_includes_itself_ends(etc: Path) -> None:
    with pytest.raises(CandidateProblem):
        mirrored(etc, f"include {etc}/nginx.conf;")


def test_a_missing_main_file_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(CandidateProblem, match="No such file"):
        candidate_config(tmp_path / "no.conf", tmp_path / "l", tmp_path / "c", tmp_path)
