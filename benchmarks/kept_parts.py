"""``python -m benchmarks.kept_parts``: what a kept request is made of, in instructions of user space, part by part.

A compiled relay, its client and its worker take turns in one thread (one_thread.py) under valgrind's callgrind; what
fewer requests take is subtracted from what more of them take, so that only requests are left.  Client, worker and
``epoll_wait`` are not counted.  Instructions are the same on a busy machine; what the kernel does is not among them.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

FEW, MANY = 300, 1300
LOOP: Final = "loop___Relay___run"
#: Each part: what it is, the function that is all of it, and functions called from there that are parts of their own.
PARTS: Final[tuple[tuple[str, str, list[str]], ...]] = (
    ("read from the client", "http_events___read_request", ["http_events____take"]),
    ("where its head ends, and whether its path may pass", "http_events____take",
     ["request_head___read_request_head", "http_events____begin"]),
    ("its head", "request_head___read_request_head", []),
    ("objects of a request, tables of requests", "http_events____begin", ["request_events___on_head"]),
    ("key, pool and node", "request_events___on_head", ["codec___codec_of_head", "attempts____connect_kept"]),
    ("the head for the worker", "codec___codec_of_head", []),
    ("a kept connection on which nothing came, write to it", "attempts____connect_kept", []),
    ("read from the worker", "request_events___on_upstream",
     ["answer___HttpAnswer___feed", "download____note_answer", "connection___Connection___write",
      "request_events____on_outcome"]),
    ("its answer's head and length", "answer___HttpAnswer___feed", []),
    ("count its status, frame it for the client", "download____note_answer", []),
    ("write to the client", "connection___Connection___write", []),
    ("the end: both connections wait again", "request_events____on_outcome", []),
)  # fmt: skip
#: What is called by the loop and is not its own: parts, what is done once in a while, and ``epoll_wait`` and the clock.
_NOT_THE_LOOP: Final = ("http_events___read_request", "request_events___on_upstream", "loop___Relay____tick",
                        "PyObject_Vectorcall")  # fmt: skip
_NAME: Final = re.compile(r"\((\d+)\)(?: (.*))?")

#: Instructions by caller and callee, with all that the callee calls; a function's own ones are those of no callee.
Costs = Counter[tuple[str, str]]


def costs_of(text: str) -> Costs:
    """What is in a file of callgrind."""
    names: dict[str, str] = {}
    costs: Costs = Counter()
    caller = callee = ""
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key in ("fn", "cfn") and (match := _NAME.match(value)) is not None:
            if match[2]:
                names[match[1]] = match[2].removeprefix("CPyDef_").split("'")[0]
            if key == "fn":
                caller, callee = names[match[1]], ""
            else:
                callee = names[match[1]]
        elif line[:1] in "0123456789+-*" and len(line.split()) == 2:
            # Behind "calls=" it is what these calls cost.
            costs[caller, callee] += int(line.split()[1])
            callee = ""
    return costs


def count(python: str, requests: int, words: list[str], folder: Path) -> Costs:
    """What so many ``requests`` cost."""
    out = folder / f"callgrind.{requests}"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", python,
               str(Path(__file__).with_name("one_thread.py")), str(requests), *words]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "0"})
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-1000:]}")
    return costs_of(out.read_text())


def parts_of(costs: Costs) -> list[tuple[str, int]]:
    """What each part costs, without those within it."""
    whole: Counter[str] = Counter()
    loop = 0
    for (caller, callee), cost in costs.items():
        whole[callee] += cost
        if caller == LOOP and callee not in _NOT_THE_LOOP:
            loop += cost
    rows = [("the loop: whose event it is", loop)]
    for text, function, within in PARTS:
        rows.append((text, whole[function] - sum(whole[name] for name in within)))
    return rows


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="of a virtual environment with a compiled router")
    python = parser.parse_args().python
    columns = []
    with tempfile.TemporaryDirectory(prefix="fastroute-bench-") as name:
        for words in ([], ["nginx"]):
            few, many = (count(python, requests, words, Path(name)) for requests in (FEW, MANY))
            many.subtract(few)
            columns.append(parts_of(many))
    if not columns[0][1][1]:
        raise SystemExit(f"{python}: its relay is not compiled")
    print("| part | a client's head | nginx's head |\n| --- | --- | --- |")
    for (text, plain), (_, nginx) in zip(*columns, strict=True):
        print(f"| {text} | {plain // (MANY - FEW):,} | {nginx // (MANY - FEW):,} |")
    plain, nginx = (sum(cost for _, cost in column) // (MANY - FEW) for column in columns)
    print(f"| **sum** | {plain:,} | {nginx:,} |")


if __name__ == "__main__":
    main()
