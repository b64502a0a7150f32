"""Where the packed program starts (standard library only; ``scripts/pack_host_program`` makes it the archive's __main__).

Python keeps no byte code of what it loads from an archive and compiles it at every start, which takes longer than the
program's work; and a fleet waits for that two or three times. So it is unpacked once, beside itself, where byte code is kept.
"""

from __future__ import annotations

import os
import sys


def home(program: str) -> str:
    """Where this very archive is unpacked: another one has another time or size."""
    stat = os.stat(program)
    return f"{program}.d/{stat.st_mtime_ns:x}-{stat.st_size:x}"


def unpack(program: str) -> None:
    """Whole or not at all, and without a word when it cannot be: the archive itself will do."""
    import contextlib
    import shutil
    import tempfile
    import zipfile

    target = home(program)
    parent = os.path.dirname(target)
    before = os.umask(0o022)  # it is a program: every user may ask it for the status
    with contextlib.suppress(OSError):
        os.makedirs(parent, mode=0o755, exist_ok=True)
        others = [os.path.join(parent, name) for name in os.listdir(parent)]
        temporary = tempfile.mkdtemp(dir=parent)
        try:
            with zipfile.ZipFile(program) as archive:
                archive.extractall(temporary)
            os.chmod(temporary, 0o755)  # noqa: S103 see above
            os.rename(temporary, target)
        except OSError:
            others = [temporary]
        for other in others:
            shutil.rmtree(other, ignore_errors=True)
    os.umask(before)


def start() -> int:
    program = os.path.realpath(sys.argv[0])
    if not os.path.isdir(home(program)) and os.geteuid() == os.stat(program).st_uid:
        unpack(program)
    if os.path.isdir(home(program)):
        sys.path.insert(0, home(program))
    from floyo.hostprog.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(start())
