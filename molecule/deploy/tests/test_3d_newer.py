"""The newer line of ansible-core deploys and goes back as well. The fleet runs v1.0.0."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Made by the ring "newer", when the machine has a Python that it can run on.
PROGRAMS = ROOT / ".cache" / "newer" / "bin"


@pytest.mark.skipif(not (PROGRAMS.parent / "floyo-setup").exists(), reason="no newer ansible-core beside .venv")
def test_deploy_and_rollback(world: Any) -> None:
    settings = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    done = world.play("deploy", settings=settings, floyo_version="v1.1.0")
    assert done.rc == 0, done.output
    assert world.versions() == ["v1.1.0"] * 3
    done = world.play("rollback", settings=settings)
    assert done.rc == 0, done.output
    assert "WARNING" not in done.output
    assert world.versions() == ["v1.0.0"] * 3
