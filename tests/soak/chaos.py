"""Everything that serves is killed, replaced and told to read its file again, at random, under 200 requests a second.

Two nginx (one to the TCP front, one to the unix front) ask real uWSGI workers through our router; a supervisor holds
the router's sockets, as systemd does, and starts it again when its master was killed.  A request that fails must have
been in flight in what was killed: begun before the kill, and ended by it.  Nothing else explains a failure: no
upgrade, no reload, no dead control.

``make chaos``, or ``PYTHONPATH=tests python -m soak.chaos [SECONDS [SEED]]``; exit code 1 when a loss is unexplained.
"""

from __future__ import annotations

import http.client
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.programs import Nginx, Program, UwsgiWorker, wait_for
from support.survival import children_of
from support.systemd import FakeSystemd
from support.uwsgi_client import ask

KEY = "foo.com"
RATE = 200.0
CLIENTS = 24
#: Share of requests that take their time, so that every deed finds some in flight; seconds that they take.
SLOW, SLOW_FOR = 0.05, 0.4
#: Seconds between what the kernel closes and what a client notes: nginx is between them, and the machine is busy.
NOTICE = 1.0


@dataclass
class Kill:
    """``at``: from just before it to just after it, as ``time.monotonic``."""

    what: str
    begun: float
    done: float


@dataclass
class Record:
    """What happened; appended to by all threads (appending is atomic)."""

    #: Seconds that each request took, and when it began.
    served: list[tuple[float, float]] = field(default_factory=list)
    losses: list[tuple[float, float, str]] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    deeds: Counter[str] = field(default_factory=Counter)

    def explained(self, began: float, ended: float) -> str:
        """What was killed while the request was in flight, and ended it; empty: nothing."""
        for kill in self.kills:
            if began <= kill.done and kill.begun <= ended <= kill.done + NOTICE:
                return kill.what
        return ""


class Clients:
    """``RATE`` requests a second over both nginx, until :meth:`stop`."""

    def __init__(self, ports: list[int], record: Record, seed: int) -> None:
        self._ports, self._record, self._over = ports, record, threading.Event()
        chances = [random.Random(f"{seed} {number}") for number in range(CLIENTS)]
        self._threads = [threading.Thread(target=self._run, args=(chance,)) for chance in chances]
        for thread in self._threads:
            thread.start()

    def _run(self, chance: random.Random) -> None:
        pause = CLIENTS / RATE
        due = time.monotonic() + chance.random() * pause
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due = max(due + pause, time.monotonic() - 1)
            self._one(chance.choice(self._ports), f"/?sleep={SLOW_FOR}" if chance.random() < SLOW else "/")

    def _one(self, port: int, path: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        began, what = time.monotonic(), ""
        try:
            connection.request("GET", path, headers={"Host": KEY})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                what = f"{answer.status} {answer.getheader('X-Fastroute-Error')}"
            elif not body.startswith(b"w"):
                what = f"wrong answer {body[:40]!r}"
        except (OSError, http.client.HTTPException) as error:
            what = repr(error)
        finally:
            connection.close()
        ended = time.monotonic()
        self._record.served.append((ended - began, began))
        if what:
            self._record.losses.append((began, ended, f"{'unix' if port == self._ports[1] else 'tcp'} {path} {what}"))

    def stop(self) -> None:
        """No more requests; returns when the last is answered."""
        self._over.set()
        for thread in self._threads:
            thread.join()


class Trouble:
    """The router that serves now, and what is done to it."""

    def __init__(self, systemd: FakeSystemd, folder: Path, record: Record, chance: random.Random) -> None:
        self._systemd, self._record, self._chance = systemd, record, chance
        self._file, self._folder, self._times = folder / "router.yaml", folder, 0
        self._write()
        self.router = self._start()
        self.router.wait_line("serves on")
        self.deeds: dict[str, Callable[[], None]] = {
            "relay killed": lambda: self._kill_child("relay.main"),
            "control killed": lambda: self._kill_child("control.main"),
            "master killed": self._kill_master,
            "reload": self._reload,
            "reload, and a newcomer killed": self._reload_killed,
            "upgrade": self._upgrade,
            "upgrade, and the new one killed": self._upgrade_new_killed,
            "upgrade, and the old one killed": self._upgrade_old_killed,
        }

    def _write(self) -> None:
        self._times += 1
        self._file.write_text(f"router: {{processes: 2, timeout: {30 + self._times % 20}}}\n")

    def _start(self) -> Program:
        return self._systemd.start_router(str(self._file), "--run-dir", str(self._folder),
                                          "--state-dir", str(self._folder), "--tolerance", "10")  # fmt: skip

    def _kill(self, pid: int, what: str) -> None:
        begun = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: _gone(pid), f"{what} is gone")
        self._record.kills.append(Kill(what, begun, time.monotonic()))

    def _kill_router(self, router: Program, what: str) -> None:
        """A master, which takes all its children with it."""
        pid = router.process.pid
        children = [*children_of(pid, "relay.main"), *children_of(pid, "control.main")]
        begun = time.monotonic()
        router.process.kill()
        router.process.wait()
        wait_for(lambda: all(map(_gone, children)), "the children are gone")
        self._record.kills.append(Kill(what, begun, time.monotonic()))
        _close(router)

    def _kill_child(self, name: str) -> None:
        victim = self._chance.choice(children_of(self.router.process.pid, name))
        begun = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: victim not in children_of(self.router.process.pid, name), "it is gone")
        if name == "relay.main":
            self._record.kills.append(Kill("relay", begun, time.monotonic()))
        wanted = 2 if name == "relay.main" else 1
        wait_for(lambda: len(children_of(self.router.process.pid, name)) >= wanted, "a new one")

    def _kill_master(self) -> None:
        self._kill_router(self.router, "master")
        self.router = self._start()
        self.router.wait_line("serves on")

    def _reload(self) -> None:
        self._write()
        before = self.router.output().count("reloaded: ")
        self.router.send_signal(signal.SIGHUP)
        self.router.wait_for(lambda: self.router.output().count("reloaded: ") > before, "it is reloaded")

    def _reload_killed(self) -> None:
        self._write()
        before = len(re.findall("reloaded: ", self.router.output()))
        old = self._everybody()
        self.router.send_signal(signal.SIGHUP)
        wait_for(lambda: set(self._everybody()) - set(old), "newcomers")
        time.sleep(self._chance.random() * 0.5)
        if newcomers := sorted(set(self._everybody()) - set(old)):
            victim = self._chance.choice(newcomers)
            begun = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: victim not in self._everybody(), "it is gone")
            self._record.kills.append(Kill("newcomer of a reload", begun, time.monotonic()))
        self.router.wait_for(lambda: len(re.findall("reloaded: ", self.router.output())) > before, "it is decided")

    def _everybody(self) -> list[int]:
        pid = self.router.process.pid
        return children_of(pid, "relay.main") + children_of(pid, "control.main")

    def _upgrade(self) -> None:
        old, new = self.router, self._start()
        new.wait_line("serves on")
        assert old.ended() == 0, old.output()
        _close(old)
        self.router = new

    def _upgrade_new_killed(self) -> None:
        old, new = self.router, self._start()
        time.sleep(self._chance.random() * 0.9)
        if "handed over" in old.output():
            new.wait_line("serves on")
        self._kill_router(new, "new router")
        if "handed over" in old.output():
            self.router = self._start()
            self.router.wait_line("serves on")
            assert old.ended() == 0, old.output()
            _close(old)

    def _upgrade_old_killed(self) -> None:
        old, new = self.router, self._start()
        time.sleep(self._chance.random() * 0.9)
        if old.process.poll() is None:
            self._kill_router(old, "old router")
        else:
            _close(old)
        new.wait_line("serves on")
        self.router = new

    def make(self, seconds: float) -> None:
        """One deed after the other, until the time is over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            name = self._chance.choice(list(self.deeds))
            self.deeds[name]()
            self._record.deeds[name] += 1
            time.sleep(0.2 + self._chance.random())


def _gone(pid: int) -> bool:
    """Dead, whether or not its parent knows."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _close(program: Program) -> None:
    program.process.wait()
    shutil.rmtree(program.directory, ignore_errors=True)


def summary(record: Record) -> int:
    """Print what happened; 1 when something is not as it must be."""
    times = sorted(seconds for seconds, _ in record.served)
    reasons = Counter(record.explained(began, ended) for began, ended, _ in record.losses)
    half, most = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.99))
    print(f"requests     {len(times)}, p50 {half:.1f} ms, p99 {most:.1f} ms, longest {times[-1]:.2f} s")
    print("deeds        " + ", ".join(f"{count} {deed}" for deed, count in sorted(record.deeds.items())))
    kills = Counter(kill.what for kill in record.kills)
    print("killed       " + ", ".join(f"{count} {what}" for what, count in sorted(kills.items())))
    lost = ", ".join(f"{count} in flight in {what}" for what, count in reasons.items() if what)
    print(f"lost         {len(record.losses)}: {lost or 'none'}; {reasons['']} unexplained")
    for began, ended, what in record.losses:
        if not record.explained(began, ended):
            near = [f"{kill.what} {kill.begun - began:+.3f}..{kill.done - began:+.3f}" for kill in record.kills
                    if abs(kill.begun - began) < 3]  # fmt: skip
            print(f"unexplained  {what}, took {ended - began:.3f} s; kills: {near}")
    for seconds, began in sorted(record.served, reverse=True)[:3]:
        near = [f"{kill.what} {kill.begun - began:+.2f}" for kill in record.kills if abs(kill.begun - began) < 3]
        print(f"slow         {seconds:.2f} s; kills: {near}")
    print("NOT CLEAN" if reasons[""] else "clean")
    return int(reasons[""] > 0)


def chaos(seconds: float, seed: int) -> int:
    """Run it all and print the summary; the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="fastroute-chaos-"))
    folder.chmod(0o755)
    systemd, record = FakeSystemd(folder), Record()
    trouble = Trouble(systemd, folder, record, random.Random(seed))
    server = f"server=127.0.0.1:{systemd.port},key={KEY}"
    try:
        with (
            UwsgiWorker("w1", "--subscribe-freq", "2", subscribe=server),
            UwsgiWorker("w2", "--subscribe-freq", "2", subscribe=server),
            UwsgiWorker("w3", "--subscribe-freq", "2", subscribe=server),
            Nginx(f"127.0.0.1:{systemd.port}") as tcp,
            Nginx(f"unix:{systemd.unix}") as unix,
        ):
            wait_for(lambda: ask(systemd.port, KEY).status == 200, "it serves")
            clients = Clients([tcp.port, unix.port], record, seed)
            try:
                trouble.make(seconds)
            finally:
                clients.stop()
        return summary(record)
    finally:
        trouble.router.__exit__()
        systemd.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(chaos(float(sys.argv[1]) if len(sys.argv) > 1 else 600, int(sys.argv[2]) if len(sys.argv) > 2 else 1))
