"""An address's account is taken out of it."""

from __future__ import annotations

import pytest

from ansible.module_utils.floyo.release.git import _last, split_address


@pytest.mark.parametrize(
    ("url", "address", "account"),
    [
        ("https://anna:s3%40cret@git.example/a/b.git", "https://git.example/a/b.git", "anna:s3%40cret"),
        ("https://token@git.example/a.git", "https://git.example/a.git", "token"),
        ("HTTPS://u:p@git.example:8443/a.git", "HTTPS://git.example:8443/a.git", "u:p"),
        ("http://u:p@[::1]:80/a", "http://[::1]:80/a", "u:p"),
        ("https://u:a@b@git.example/x", "https://git.example/x", "u:a@b"),
        ("https://git.example/a@b.git", "https://git.example/a@b.git", ""),
        ("ssh://git@git.example/a.git", "ssh://git@git.example/a.git", ""),
        ("git@git.example:a/b.git", "git@git.example:a/b.git", ""),
        ("/srv/repos/a.git", "/srv/repos/a.git", ""),
        ("file:///srv/repos/a@b.git", "file:///srv/repos/a@b.git", ""),
        ("", "", ""),
    ],
)
def test_what_is_secret_in_an_address(url: str, address: str, account: str) -> None:
    assert split_address(url) == (address, account)


def test_the_cause_of_a_failed_fetch() -> None:
    told = "fatal: '/nowhere' does not appear to be a git repository\nfatal: Could not read from remote repository.\n\nand\n"
    assert _last(told) == "fatal: '/nowhere' does not appear to be a git repository"
    assert _last("ssh: connect to host git.example port 22: refused\n").startswith("ssh: connect")
    assert _last("") == "it cannot be read"
