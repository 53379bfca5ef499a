"""Three services of one container each beside the stack (tests/docker/deploys.yaml): uWSGI, gunicorn in the uwsgi
protocol, gunicorn in HTTP; in a compose project of their own, on the workers' network."""

from __future__ import annotations

import subprocess

from support.programs import wait_for
from support.stack import ROOT, Stack

SERVICES = ("uwsgi", "gunicorn", "http")
HOSTS = tuple(f"{service}.test" for service in SERVICES)
FILE = ROOT / "tests/docker/deploys.yaml"


class Deployed:
    """The three services; ``compose`` deploys them."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.project = stack, f"{stack.project}-deploys"
        self._environment = stack.environment | {
            "COMPOSE_PROJECT_NAME": self.project, "STACK_PROJECT": stack.project,
        }  # fmt: skip

    def compose(self, *argv: str, **variables: str) -> str:
        """``docker compose`` in the project, with these ``variables``."""
        command = ["docker", "compose", "-f", str(FILE), *argv]
        done = subprocess.run(
            command, env=self._environment | variables, capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def containers(self) -> list[str]:
        """Their names."""
        return sorted(self.compose("ps", "--format", "{{.Name}}").split())

    def answered_by(self) -> dict[str, str]:
        """Who answers for each host; its status where it is not 200."""
        answers = {host: self.stack.get(host) for host in HOSTS}
        return {host: answer.text if answer.status == 200 else str(answer.status) for host, answer in answers.items()}

    def wait_answered(self) -> None:
        """Until each host is answered by its own running container."""
        wanted = {host: self.host_name(service) for host, service in zip(HOSTS, SERVICES, strict=True)}
        wait_for(lambda: self.answered_by() == wanted, "the new containers answer", 60)

    def host_name(self, service: str) -> str:
        """What the service's container answers with."""
        return self.stack.host_name(self.compose("ps", "--format", "{{.Name}}", service).split()[0])
