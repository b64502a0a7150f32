"""A place elsewhere that rclone reaches: what is there, and bytes to and from it (client: rclone).

Nothing is believed of what a backend says of its files: what was sent is read from there again. Passwords are in rclone's
configuration and in no argument.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import ConnectionLost, FloyoError, Refused, Unusable
from .processes import CHUNK, Child, Streamed, running, write_all

__all__ = ["Remote"]

_SPEC = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@ -]*:[^\0\n]*")
_NO_DIRECTORY = 3  # rclone's status for one that is not there
_LARGEST_TEXT = 64 << 20
_FLAGS = ["--retries=3", "--contimeout=15s", "--timeout=60s", "--stats=0", "--ask-password=false", "--log-level=ERROR"]


class Remote:
    """``spec``: ``name:path`` of rclone's configuration, the directory of the copies."""

    def __init__(self, spec: str, config: str, deadline: float) -> None:
        if not _SPEC.fullmatch(spec):
            raise Unusable(
                "remote is no name of rclone's configuration with a path"
                + ("; one that carries its own options would show its password" if spec.startswith(":") else ""),
                code="REMOTE_UNUSABLE",
                expected="name:path, such as offsite:backups/floyo",
                next_step="name it in rclone_config (rclone config), and give name:path",
            )
        self.spec, self.config, self.deadline = spec.rstrip("/"), config, deadline
        self._require_config()
        program = shutil.which("rclone")
        if not program:
            raise Unusable(
                "rclone is not on this host, by which backups are copied elsewhere",
                code="RCLONE_MISSING",
                expected="Debian's package rclone",
                next_step="apt-get install rclone, or run playbooks/provision.yml",
            )
        self._program: str = program

    def _require_config(self) -> None:
        try:
            mode = os.stat(self.config).st_mode
        except OSError as error:
            raise Unusable(
                f"rclone_config {self.config} cannot be read: {error.strerror}",
                code="REMOTE_UNUSABLE",
                expected="rclone's configuration, which names the remote",
                next_step="write it with rclone config, mode 0600",
            ) from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Refused(
                f"rclone_config {self.config} can be read by others (mode {stat.S_IMODE(mode):04o})",
                code="KEY_EXPOSED",
                expected="mode 0600: passwords are in it",
                next_step=f"chmod 0600 {self.config}",
            )

    # --- what is there ------------------------------------------------------------------------------------------------

    def sizes(self) -> dict[str, int]:
        """Bytes of each name; of a directory those of its files."""
        try:
            with self._rclone("lsjson", "--recursive", "--files-only", "--no-modtime", self.spec) as child:
                said = self._text(child)
        except ConnectionLost as error:
            if error.details["status"] != _NO_DIRECTORY:
                raise
            return {}  # the first copy makes it
        found: dict[str, int] = {}
        for entry in json.loads(said or "[]"):
            name = str(entry["Path"]).split("/")[0]
            found[name] = found.get(name, 0) + int(entry["Size"])
        return found

    def text(self, name: str) -> str:
        with self._rclone("cat", self._at(name)) as child:
            return self._text(child)

    def digest(self, name: str, *, directory: bool) -> Streamed:
        """Of what is there, read from there."""
        if not directory:
            return self.receive(name, lambda chunk: None)
        with self._rclone("hashsum", "SHA256", "--download", self._at(name)) as child:
            lines = sorted(self._text(child).splitlines(), key=lambda line: line.split("  ", 1)[1])
        text = "".join(f"{line}\n" for line in lines)
        return Streamed(self.sizes().get(name, 0), hashlib.sha256(text.encode()).hexdigest())

    def receive(self, name: str, take: Callable[[bytes], None]) -> Streamed:
        """A file's bytes, as they come."""
        size, digest = 0, hashlib.sha256()
        with self._rclone("cat", self._at(name)) as child:
            for chunk in self._chunks(child):
                take(chunk)
                digest.update(chunk)
                size += len(chunk)
        return Streamed(size, digest.hexdigest())

    # --- changing it --------------------------------------------------------------------------------------------------

    def send(self, path: str, name: str) -> None:
        """A file or a directory, whatever is there under that name."""
        verb = "sync" if os.path.isdir(path) else "copyto"
        with self._rclone(verb, "--ignore-times", path, self._at(name)) as child:
            self._text(child)

    def write(self, name: str, text: str) -> None:
        with self._rclone("rcat", self._at(name), stdin=subprocess.PIPE) as child:
            assert child.process.stdin is not None  # noqa: S101 - for the type checker: it was asked for as a pipe
            write_all(child.process.stdin.fileno(), text.encode())
            child.process.stdin.close()
            self._text(child)

    def fetch_directory(self, name: str, path: str) -> None:
        with self._rclone("copy", self._at(name), path) as child:
            self._text(child)

    def remove(self, name: str) -> None:
        """A file or a directory. What is gone already is no error: a run that was killed has removed it."""
        chosen = [f"--include=/{name}", f"--include=/{name}/**"]
        with self._rclone("delete", "--rmdirs", *chosen, self.spec) as child:
            self._text(child)

    # --- rclone -------------------------------------------------------------------------------------------------------

    def _at(self, name: str) -> str:
        return f"{self.spec}{'' if self.spec.endswith(':') else '/'}{name}"

    @contextmanager
    def _rclone(self, *words: str, **files: Any) -> Iterator[Child]:
        argv = [self._program, words[0], *_FLAGS, *words[1:]]
        try:
            with running(
                argv, {"RCLONE_CONFIG": self.config}, (), self.deadline, stdout=subprocess.PIPE, **files
            ) as child:
                yield child
        except FloyoError as error:
            if error.code != "PROGRAM_FAILED":
                raise
            raise self._failed(words[0], error) from error

    def _failed(self, verb: str, error: FloyoError) -> ConnectionLost:
        tail = str(error.details.get("output_tail", "")).strip()
        last = tail.splitlines()[-1] if tail else "it said nothing"
        return ConnectionLost(
            f"rclone {verb} at {self.spec} has failed: {last}",
            code="REMOTE_FAILED",
            expected="a place elsewhere that can be read and written",
            next_step=f"rclone --config {self.config} lsf {self.spec}; what lies here is untouched",
            output_tail=tail,
            status=error.details["status"],
        )

    def _text(self, child: Child) -> str:
        data = bytearray()
        for chunk in self._chunks(child):
            data += chunk
            if len(data) > _LARGEST_TEXT:
                raise Unusable(f"{self.spec} says too much", code="REMOTE_FAILED")
        return data.decode(errors="replace")

    @staticmethod
    def _chunks(child: Child) -> Iterator[bytes]:
        assert child.process.stdout is not None  # noqa: S101 - for the type checker: it was asked for as a pipe
        source = child.process.stdout.fileno()
        while chunk := child.read(source, CHUNK):
            yield chunk
        child.succeed()
