"""An hour's trouble in minutes: nginx, our router and real uWSGI workers under load, while things join, leave and die.

Good clients count: each of their requests must succeed, or a kill within its time must explain the loss (a relay holds
what is in flight in it; a worker that dies takes the POSTs it had, and answers it had begun; a GET it had not begun to
answer goes to another worker, so that nothing explains losing that one). Of one key's four nodes only one serves, and
nobody touches that: no kill but a relay's explains a loss there. Rude clients, workers and datagrams are only there to
be in the way, and no good request may take long because of them. At the end one relay and control, which nobody killed
for most of the time, must be as large as they were and hold as many descriptors as before.

``make soak``, or ``PYTHONPATH=tests python -m soak.main [SECONDS [SEED]]``; exit code 1 when anything is unexplained or
grew.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from soak.clients import FEW, KEYS, Clients, rude_http_worker, rude_worker
from soak.record import Record, Sizes, descriptors, resident, summary
from support.programs import Nginx, Router, UwsgiWorker, listens, wait_for
from support.uwsgi_client import ask
from support.workers import BlackHole, Worker, refused_address

#: Workers of one key, at least and at most.
FEWEST, MOST = 2, 4
#: Seconds that a killed worker stays announced, and how many of them a key may have: with the node that never was, one
#: less than the tries that a request gets.
REMEMBERED, DEAD = 7.0, 2
DEEDS = {
    "join": "workers joined",
    "leave": "workers left",
    "kill worker": "workers killed",
    "kill relay": "relays killed",
}


def children(parent: int, name: str) -> list[int]:
    """Process ids of ``parent``'s children whose module is ``name``, oldest first."""
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        for pid in map(int, (task / "children").read_text().split()):
            try:
                if f"fastroute.router.{name}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
            except (FileNotFoundError, ProcessLookupError):
                pass
    return sorted(found)


class Trouble:
    """What joins, leaves and dies."""

    def __init__(self, router: Router, record: Record, seed: int) -> None:
        self.router, self.record, self.seed = router, record, seed
        self.workers: dict[str, list[UwsgiWorker]] = {key: [] for key in KEYS}
        self._names = 0
        self._killed: list[tuple[float, str]] = []

    def join(self, key: str) -> None:
        """One more worker, which announces itself."""
        self._names += 1
        subscription = f"server=127.0.0.1:{self.router.port},key={key}"
        worker = UwsgiWorker(f"w{self._names}", "--subscribe-freq", "2", subscribe=subscription)
        self.workers[key].append(worker)
        self.router.wait_line(f"{key} => new node: {worker.address}")

    def end(self, key: str, chance: random.Random, kill: bool) -> None:
        """One worker less: by SIGINT, with a good-bye, or by SIGKILL."""
        worker = self.workers[key].pop(chance.randrange(len(self.workers[key])))
        began = time.monotonic()
        if kill:
            self._killed.append((began, key))
            worker.kill()
        else:
            worker.send_signal(signal.SIGINT)
            wait_for(lambda: not listens(worker.port), "the worker's socket is closed")
        self.record.kills += [(began, "worker"), (time.monotonic(), "worker")]
        worker.__exit__()

    def kill_relay(self, spared: int) -> None:
        """One relay dies, never the one that is measured."""
        victims = [pid for pid in children(self.router.process.pid, "relay.main") if pid != spared]
        if victims:
            self.record.kills.append((time.monotonic(), "relay"))
            os.kill(victims[0], signal.SIGKILL)
            wait_for(lambda: len(children(self.router.process.pid, "relay.main")) == 2, "two relays again")

    def make(self, spared: int, seconds: float) -> None:
        """Something joins, leaves or dies, until the time is over."""
        chance = random.Random(f"{self.seed} trouble {seconds}")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            key = chance.choice(KEYS)
            many = len(self.workers[key])
            deed = chance.choice(["join", "leave", "kill worker", "kill relay"])
            if many <= FEWEST or (deed == "join" and many < MOST):
                deed = "join"
                self.join(key)
            elif deed == "kill relay":
                self.kill_relay(spared)
            else:
                recent = [of for at, of in self._killed if of == key and at > time.monotonic() - REMEMBERED]
                deed = "kill worker" if deed == "kill worker" and len(recent) < DEAD else "leave"
                self.end(key, chance, deed == "kill worker")
            self.record.deeds[DEEDS[deed]] += 1
            time.sleep(0.3 + chance.random())

    def close(self) -> None:
        """No workers any more."""
        for workers in self.workers.values():
            for worker in workers:
                worker.__exit__()


def calm(relay: int, control: int) -> Sizes:
    """Bytes and descriptors of both processes once nothing changes any more."""
    last, since = (0, 0), time.monotonic()
    while time.monotonic() < since + 1:
        if (now := (descriptors(relay), descriptors(control))) != last:
            last, since = now, time.monotonic()
        time.sleep(0.05)
    return {"relay": (resident(relay), last[0]), "control": (resident(control), last[1])}


def soak(seconds: float, seed: int) -> int:
    """Run it all and print the summary; the exit code."""
    options = ["--processes", "2", "--tolerance", "6", "--timeout", "5", "--client-timeout", "3", "--key-grace", "5"]
    record = Record()
    with ExitStack() as held:
        good, hole = held.enter_context(UwsgiWorker("good")), held.enter_context(BlackHole())
        options += ["--connect-timeout", "1"]
        for address in (refused_address(), hole.address, "/nowhere", good.address):
            options += ["--node", f"{FEW}={address}"]
        router = held.enter_context(Router(*options))
        nginx = held.enter_context(Nginx(f"127.0.0.1:{router.port}"))
        rude = held.enter_context(rude_worker()), held.enter_context(rude_http_worker())
        trouble = Trouble(router, record, seed)
        clients = Clients(router, nginx, record, seed)
        try:
            then, now = _run(trouble, clients, rude, seconds)
        finally:
            clients.stop()
            trouble.close()
        bad = summary(record, then, now)
        if bad:
            print(f"the router's last words:\n{router.output()[-4000:]}", file=sys.stderr)
        return int(bad)


def _run(trouble: Trouble, clients: Clients, rude: tuple[Worker, Worker], seconds: float) -> tuple[Sizes, Sizes]:
    router = trouble.router
    for key in KEYS:
        trouble.join(key)
        trouble.join(key)
        wait_for(lambda key=key: ask(router.port, key).status == 200, f"{key} is served")
    relay = children(router.process.pid, "relay.main")[0]
    clients.begin(*rude)
    # Control is killed once, at the beginning, under load: nobody notices.
    old = children(router.process.pid, "control.main")
    os.kill(old[0], signal.SIGKILL)
    wait_for(lambda: children(router.process.pid, "control.main") not in (old, []), "a new control")
    control = children(router.process.pid, "control.main")[0]
    trouble.make(relay, seconds / 4)
    clients.stop()
    then = calm(relay, control)
    clients.begin(*rude)
    trouble.make(relay, seconds * 3 / 4)
    clients.stop()
    return then, calm(relay, control)


if __name__ == "__main__":
    sys.exit(soak(float(sys.argv[1]) if len(sys.argv) > 1 else 600, int(sys.argv[2]) if len(sys.argv) > 2 else 1))
