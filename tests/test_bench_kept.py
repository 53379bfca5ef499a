"""What a kept request is made of: the relay that is counted, and how its parts are told from one another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import benchmarks
from benchmarks.kept_parts import LOOP, PARTS, Costs, costs_of, parts_of

ONE_THREAD = Path(benchmarks.__file__).with_name("one_thread.py")
#: The loop (7 instructions of its own, in two lines) calls a part twice, which calls another one, and the clock.
CALLGRIND = """\
events: Ir
fn=(1) CPyDef_loop___Relay___run
20 3
+1 4
cfn=(2) CPyDef_http_events___read_request
calls=2 30
21 100
cfn=(3) PyObject_Vectorcall'2
calls=1 0
22 1000

fn=(2)
30 40
cfn=(4) CPyDef_http_events____take
calls=2 50
31 60

fn=(4)
50 60
"""


def test_requests_behind_both_heads_are_served_in_one_thread() -> None:
    for words in ([], ["nginx"]):
        done = subprocess.run([sys.executable, ONE_THREAD, "3", *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def test_costs_are_those_of_callgrinds_file() -> None:
    take, read = "http_events____take", "http_events___read_request"
    assert costs_of(CALLGRIND) == {
        (LOOP, ""): 7, (LOOP, read): 100, (LOOP, "PyObject_Vectorcall"): 1000, (read, ""): 40, (read, take): 60,
        (take, ""): 60,
    }  # fmt: skip


def test_parts_are_without_those_within_them_and_make_up_the_whole() -> None:
    rows = parts_of(costs_of(CALLGRIND))
    assert [cost for _, cost in rows[:3]] == [7, 40, 60]
    assert sum(cost for _, cost in rows) == 107
    assert parts_of(Costs()) == [(rows[0][0], 0), *((text, 0) for text, _, _ in PARTS)]
