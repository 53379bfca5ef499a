"""The dashboard and the alert rules of docs/observability/: promtool takes them, and every metric in them exists."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent.parent / "docs"
FOLDER = DOCS / "observability"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana.json").read_text())
#: What Prometheus adds to the name of a histogram.
HISTOGRAM_ENDINGS = ("_bucket", "_sum", "_count")


def promtool(*arguments: object) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def dashboard_queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def rules() -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def metrics() -> set[str]:
    """What the reference has; that those exist is tested with running programs (test_reference.py, tests/certs)."""
    text = "".join((DOCS / "reference" / name).read_text() for name in ("metrics.md", "certs.md"))
    found: set[str] = set()
    for name, about in re.findall(r"^\| `(fastroute_\w+)` \|(.*)$", text, re.MULTILINE):
        found |= {name + ending for ending in HISTOGRAM_ENDINGS} if "histogram" in about else {name}
    return found


def test_the_alert_rules_and_the_configuration_are_valid() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("check", "config", "prometheus.yml")


def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", "alerts_test.yml")


def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    filled = [
        re.sub(r"\$__\w+", "5m", query).replace("$job", ".*").replace("$key", ".*") for query in dashboard_queries()
    ]
    recorded = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(filled)]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    promtool("check", "rules", file)


def test_every_metric_of_dashboard_and_rules_exists() -> None:
    variables = [str(one["query"]) for one in DASHBOARD["templating"]["list"]]
    queries = [*dashboard_queries(), *variables, *(rule["expr"] for rule in rules())]
    used = {name for query in queries for name in re.findall(r"\bfastroute_\w+", query)}
    assert len(used) > 20
    assert used - metrics() == set()


def test_what_the_issue_asks_for_is_alerted_of() -> None:
    alerts = {rule["alert"] for rule in rules()}
    assert alerts >= {"FastrouteKeyDown", "FastrouteErrors", "FastrouteWaiting", "FastrouteCertificateEnds",
                      "FastrouteControllerSilent", "FastrouteDrift"}  # fmt: skip
    tested = {case["alertname"] for test in yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
              for case in test["alert_rule_test"]}  # fmt: skip
    assert tested <= alerts
    assert all(rule["annotations"].keys() == {"summary", "description"} for rule in rules())


def test_panels_have_places_of_their_own_and_names() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(places) == len(set(places))
    assert len({panel["title"] for panel in DASHBOARD["panels"]}) == len(places) == DASHBOARD["panels"][-1]["id"]
