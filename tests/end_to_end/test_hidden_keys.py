"""A stopped container's exact name hides the wildcard's container; ``ps`` says so, and the cure cures."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from support.fake_docker import fake_engine
from support.programs import Controller, Router, wait_for
from support.uwsgi_client import ask
from support.workers import Worker, answers

ANY = {"fastroute.key": "*.foo.com", "fastroute.probe": "none", "fastroute.port": "8000"}
SHOP = {"fastroute.key": "shop.foo.com", "fastroute.probe": "none"}
CURE = {"fastroute.rest.key": "shop.foo.com", "fastroute.rest.backup": "1"}


def reason(controller: Controller, name: str) -> str:
    """The reason of container ``name`` in ``ps``."""
    with urllib.request.urlopen(f"http://127.0.0.1:{controller.admin_port}/v1/containers", timeout=10) as answer:
        return next((str(row["reason"]) for row in json.load(answer)["containers"] if row["name"] == name), "")


def test_ps_says_which_container_is_hidden_and_a_backup_cures_it(tmp_path: Path) -> None:
    worker = Worker(answers(b"any"))
    with fake_engine(tmp_path) as docker, Router() as router, Controller(docker.url, router) as controller:
        address, _, port = worker.address.rpartition(":")
        at_worker = {**ANY, "fastroute.port": port}
        any_one = docker.run("any", at_worker, address=address)
        controller.wait_for(lambda: ask(router.port, "shop.foo.com").body == b"any", "the wildcard serves")
        shop = docker.run("shop", SHOP)
        docker.die(shop)
        controller.wait_for(lambda: ask(router.port, "shop.foo.com").status == 503, "the stopped one hides it")
        expected = (
            "exited, exit code 0; shop.foo.com is answered 503 and not by container any, which serves *.foo.com: remove"
            " this container, or label that one fastroute.rest.key=shop.foo.com and fastroute.rest.backup=1"
        )
        wait_for(lambda: reason(controller, "shop") == expected, "ps says it")
        assert "503" not in reason(controller, "any")
        docker.die(any_one)
        docker.remove(any_one)
        docker.run("any", {**at_worker, **CURE}, address=address)
        controller.wait_for(lambda: ask(router.port, "shop.foo.com").body == b"any", "the backup serves")
        wait_for(lambda: "503" not in reason(controller, "shop"), "ps has nothing more to say")
    worker.close()
