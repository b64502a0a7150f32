"""Where a release can run that was built elsewhere."""

from __future__ import annotations

import pytest

from ansible.module_utils.floyo.release.platform import fitting


def place(platform: str = "linux-x86_64-glibc2.36", tag: str = "cpython-311") -> dict[str, str]:
    return {"python_tag": tag, "platform": platform}


@pytest.mark.parametrize("platform", ["linux-x86_64-glibc2.36", "linux-x86_64-glibc2.41", "linux-x86_64-glibc3.0"])
def test_the_same_or_a_newer_c_library_is_fine(platform: str) -> None:
    assert fitting(place(), place(platform)) == ""


@pytest.mark.parametrize(
    ("here", "word"),
    [
        (place("linux-x86_64-glibc2.31"), "glibc2.31"),
        (place("linux-x86_64-glibc2.4"), "glibc2.4"),
        (place("linux-aarch64-glibc2.36"), "aarch64"),
        (place("linux-x86_64-libc"), "linux-x86_64-libc"),
        (place("darwin-x86_64-glibc2.36"), "darwin"),
        (place(tag="cpython-313"), "cpython-313"),
        (place(tag="pypy39"), "pypy39"),
    ],
)
def test_what_does_not_fit_says_what_is_here(here: dict[str, str], word: str) -> None:
    assert word in fitting(place(), here)


def test_a_platform_without_a_known_version_fits_itself_only() -> None:
    musl = place("linux-x86_64-libc")
    assert fitting(musl, musl) == ""
    assert fitting(musl, place()) != ""
