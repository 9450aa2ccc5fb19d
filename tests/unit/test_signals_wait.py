"""A signal that comes while a process is being started is obeyed, after the start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from throughline.environment import signals_wait

IN_A_FORK = """
import os, signal, subprocess, sys
from throughline.environment import signals_wait

def leave(number, _):
    raise SystemExit(128 + number)

signal.signal(signal.SIGTERM, leave)
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))
with signals_wait():
    subprocess.run([sys.executable, "-c", "print('whole', flush=True)"], preexec_fn=lambda: None)
print("never")
"""


def test_a_signal_in_the_middle_of_a_fork_is_obeyed_when_the_process_has_started() -> None:
    done = subprocess.run([sys.executable, "-c", IN_A_FORK], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, "whole\n", "")


def test_ctrl_c_interrupts_at_the_end() -> None:
    reached = []

    def pressed_while_starting() -> None:
        with signals_wait():
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        pressed_while_starting()
    assert reached == ["the end"]


def test_without_a_signal_the_handlers_are_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signals_wait():
        pass
    assert signal.getsignal(signal.SIGTERM) is before
