"""The application's repository: a bare mirror on the build host (client)."""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path
from typing import Any

from ..errors import ConnectionLost, Unusable
from .names import nearest
from .process import Log

__all__ = ["Mirror"]

FETCH_TIMEOUT = 900.0
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


class Mirror:
    """A bare copy that is fetched before each build. The address may hold a password: it travels in the environment."""

    def __init__(self, path: Path, url: str, log: Log) -> None:
        self.path, self.log = path, log
        self.environment = {
            **os.environ,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": os.environ.get("HOME", "/root"),
            "GIT_CONFIG_COUNT": "3",
            "GIT_CONFIG_KEY_0": "remote.origin.url",
            "GIT_CONFIG_VALUE_0": url,
            # A repository in a directory of the host may belong to anybody; only its objects are read.
            "GIT_CONFIG_KEY_1": "safe.directory",
            "GIT_CONFIG_VALUE_1": "*",
            "GIT_CONFIG_KEY_2": "tar.umask",
            "GIT_CONFIG_VALUE_2": "0022",
        }

    def _git(self, *words: str, timeout: float = 60.0) -> tuple[int, str]:
        status, output = self.log.run(["git", *words], cwd=self.path, environment=self.environment, timeout=timeout)
        return status, output.strip()

    def fetch(self) -> None:
        """Bring the mirror up to date, moved tags and branches included."""
        self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        if not (self.path / "HEAD").exists():
            self._git("init", "--quiet", "--bare", ".")
        status, output = self._git(
            "fetch", "--quiet", "--prune", "--prune-tags", "--force", "origin",
            "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*",
            timeout=FETCH_TIMEOUT,
        )  # fmt: skip
        if status:
            raise ConnectionLost(
                f"the application's repository cannot be fetched: {_last(output)}",
                code="REPOSITORY_UNREACHABLE",
                expected="floyo_repository to be readable from the build host",
                next_step="try git ls-remote there; check the address, its key or token, and floyo_ca_bundle",
                log_tail=self.log.tail(),
            )

    def has_commit(self, version: str) -> bool:
        """Whether ``version`` is a whole commit id that was fetched before: such a name cannot move."""
        return (
            len(version) == 40
            and bool(_COMMIT.fullmatch(version))
            and (self.path / "HEAD").exists()
            and self._git("cat-file", "-e", version + "^{commit}")[0] == 0
        )

    def resolve(self, version: str) -> tuple[str, str]:
        """(commit, kind) of a tag, branch or commit; kind is tag, branch or commit. Tags win over branches."""
        places = [("tag", f"refs/tags/{version}"), ("branch", f"refs/heads/{version}")]
        if _COMMIT.fullmatch(version):
            places.append(("commit", version))
        for kind, ref in places:
            status, commit = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", ref + "^{commit}")
            if status == 0:
                return commit.splitlines()[-1], kind
        tags = self._git("for-each-ref", "--format=%(refname:strip=2)", "refs/tags")[1].split()
        alike = nearest(version, tags)
        raise Unusable(
            f"the repository has no tag, branch or commit {version!r}",
            code="VERSION_UNKNOWN",
            expected="one of its tags, such as " + ", ".join(alike) if alike else "a tag; the repository has none",
            next_step=f"-e floyo_version={alike[0]}" if alike else "push the tag, then try again",
            nearest=alike,
        )

    def describe(self, commit: str) -> dict[str, str]:
        """commit, tree, author, date (ISO 8601), epoch (the same in seconds), subject."""
        text = self._git("show", "--no-patch", "--format=%H%n%T%n%an <%ae>%n%cI%n%ct%n%s", commit)[1]
        return dict(zip(("commit", "tree", "author", "date", "epoch", "subject"), [*text.split("\n"), "", ""]))

    def export(self, commit: str, target: Path) -> None:
        """The commit's files under ``target``, which must not exist."""
        target.mkdir(mode=0o755)
        packed = target.with_name(target.name + ".tar")
        status, output = self._git("archive", "--format=tar", "-o", str(packed), commit, timeout=FETCH_TIMEOUT)
        if status:
            raise Unusable(f"git cannot export {commit}: {_last(output)}", code="EXPORT_FAILED")
        options: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
        with tarfile.open(packed) as archive:
            archive.extractall(target, **options)  # noqa: S202 - written by git one line above
        packed.unlink()
        if (target / ".gitmodules").exists():
            raise Unusable(
                "the repository uses submodules, which an export does not hold",
                code="SUBMODULES_UNSUPPORTED",
                next_step="bring the code in as a package or a subtree",
            )


def _last(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return next(
        (line for line in reversed(lines) if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "?"
    )
