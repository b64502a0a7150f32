"""The application's repository: a bare mirror on the build host (client)."""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ..errors import ConnectionLost, Unusable
from ..files import write_atomic
from .names import nearest
from .process import Log

__all__ = ["Mirror", "secrets_of", "split_address"]

FETCH_TIMEOUT = 900.0
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_ACCOUNT = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<account>[^/]*)@(?P<place>[^/@]*)(?P<path>.*)", re.DOTALL | re.I
)
# What git asks for an account; the shell that runs it reads the values from its environment.
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$FLOYO_GIT_USER" "$FLOYO_GIT_PASSWORD"; }; f'
)


def split_address(url: str) -> tuple[str, str]:
    """(address without secrets, ``user:password`` or a token, as it stood in it). An ssh user is no secret."""
    match = _ACCOUNT.fullmatch(url)
    web = match is not None and match["scheme"].lower() in ("http://", "https://")
    if not match or not (web or ":" in match["account"]):
        return url, ""
    keep = "" if web else match["account"].partition(":")[0] + "@"
    return f"{match['scheme']}{keep}{match['place']}{match['path']}", match["account"]


def secrets_of(url: str) -> set[str]:
    """What must not be shown of an address: its password or token, as it stands there and as it is meant."""
    account = split_address(url)[1]
    word = account.partition(":")[2] or account
    return {word, unquote(word)} - {""}


class Mirror:
    """A bare copy that is fetched before each build.

    git hands an address to its helpers as an argument, which everybody on the host can read. So a password of the address
    goes to git as the answer of a credential helper, out of an environment variable.
    """

    def __init__(self, path: Path, url: str, log: Log, *, credentials: str = "") -> None:
        self.path, self.log = path, log
        address, account = split_address(url)
        user, _, password = (credentials or account).partition(":")
        match = re.match(r"https?://[^/]+", address, re.IGNORECASE)
        settings = [
            ("remote.origin.url", address),
            ("tar.umask", "0022"),
            ("log.showSignature", "false"),
            # A repository in a directory of the host may belong to anybody; only its objects are read.
            ("safe.directory", "*"),
        ]
        if address.startswith(("/", "file://")):
            # For the process that reads that repository, which does not get these settings.
            settings.append(("remote.origin.uploadpack", "git -c 'safe.directory=*' upload-pack"))
        if match and (user or password):
            # The empty one first: no other helper gets to see, or to keep, what this one answers.
            settings += [("credential.helper", ""), (f"credential.{match.group()}.helper", _HELPER)]
        self.environment = {
            **os.environ,
            "LC_ALL": "C.UTF-8",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": os.environ.get("HOME", "/root"),
            "GIT_CONFIG_COUNT": str(len(settings)),
            **{f"GIT_CONFIG_KEY_{number}": key for number, (key, _) in enumerate(settings)},
            **{f"GIT_CONFIG_VALUE_{number}": value for number, (_, value) in enumerate(settings)},
            "FLOYO_GIT_USER": unquote(user),
            "FLOYO_GIT_PASSWORD": unquote(password),
        }

    def _git(self, *words: str, timeout: float = 60.0) -> tuple[int, str]:
        """(exit status, what git says or complains)."""
        return self.log.run(["git", *words], cwd=self.path, environment=self.environment, timeout=timeout)

    def _ask(self, *words: str) -> tuple[int, str]:
        """(exit status, what git answers)."""
        status, answer, _ = self.log.ask(["git", *words], cwd=self.path, environment=self.environment, timeout=60.0)
        return status, answer.strip()

    def fetch(self) -> None:
        """Bring the mirror up to date, moved tags and branches included."""
        self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        # Idempotent: it also mends what a killed one began.
        self._git("init", "--quiet", "--bare", ".")
        # One build at a time holds the host's lock, so a lock of git's is a killed fetch's.
        for left in self.path.rglob("*.lock"):
            left.unlink()
        # A release holds all that is tracked, also what a project leaves out of its downloads, such as its tests.
        write_atomic(str(self.path / "info" / "attributes"), b"* -export-ignore -export-subst\n", mode=0o644)
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
            status, commit = self._ask("rev-parse", "--verify", "--quiet", "--end-of-options", ref + "^{commit}")
            if status == 0:
                return commit, kind
        tags = self._ask("for-each-ref", "--format=%(refname:strip=2)", "refs/tags")[1].split()
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
        text = self._ask("show", "--no-patch", "--format=%H%n%T%n%an <%ae>%n%cI%n%ct%n%s", commit)[1]
        return dict(zip(("commit", "tree", "author", "date", "epoch", "subject"), [*text.split("\n"), "", ""]))

    def export(self, commit: str, target: Path) -> None:
        """The commit's files under ``target``, which must not exist."""
        listed = self._ask("ls-tree", "-r", "-z", "--full-tree", commit)[1].split("\0")
        modules = [entry.partition("\t")[2] for entry in listed if entry.startswith("160000 ")]
        if modules:
            raise Unusable(
                f"the repository uses submodules ({', '.join(modules[:3])}), which an export does not hold",
                code="SUBMODULES_UNSUPPORTED",
                next_step="bring the code in as a package or a subtree",
            )
        target.mkdir(mode=0o755)
        packed = target.with_name(target.name + ".tar")
        status, output = self._git("archive", "--format=tar", "-o", str(packed), commit, timeout=FETCH_TIMEOUT)
        if status:
            raise Unusable(f"git cannot export {commit}: {_last(output)}", code="EXPORT_FAILED")
        options: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
        with tarfile.open(packed, errors="surrogateescape") as archive:
            archive.extractall(target, **options)  # noqa: S202 - written by git one line above
        packed.unlink()


def _last(output: str) -> str:
    """The cause; what git adds about all servers that it cannot read does not say it."""
    lines = [line for line in output.partition("fatal: Could not read from remote")[0].splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (marked or lines or ["it cannot be read"])[-1]
