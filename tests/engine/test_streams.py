"""The output of a lesson's process, caught at the descriptors."""

from __future__ import annotations

import os
import sys
from contextlib import closing, redirect_stderr, redirect_stdout

import pytest

from tutor.engine.streams import Capture


@pytest.mark.usefixtures("capfd")
def test_output_that_is_passed_on_keeps_its_order_and_its_stream() -> None:
    lines: list[tuple[str, bool]] = []
    expected = [(f"{number} é", bool(number % 2)) for number in range(200)]

    def receive(text: str, is_error: bool) -> None:
        lines.extend((line, is_error) for line in text.splitlines())

    with redirect_stdout(sys.stdout), redirect_stderr(sys.stderr), closing(Capture()) as capture:
        capture.renew()
        with capture.passed_on(receive):
            for line, is_error in expected:
                print(line, file=sys.stderr if is_error else sys.stdout)
        print("later", file=sys.stderr)
        os.write(1, b"and later\n")
        assert capture.take() == ("later\nand later\n", 0)
    assert lines == expected
