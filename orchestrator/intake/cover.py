"""A cover letter in the form of `git format-patch`, so that a series that is kept can be read again as it was."""

from orchestrator.intake.patch import Mail

NAME = "0000-cover-letter.eml"  # not .patch: `git am *.patch` takes what lies beside it


def write(letter: Mail, patches: int) -> bytes:
    """Return the mail `[PATCH 0/patches]` with what `letter` says."""
    head = [
        f"From {'0' * 40} Mon Sep 17 00:00:00 2001",  # the reader takes it as it is, without scissors
        f"From: {letter.author} <{letter.email}>",
        *([f"Date: {letter.date}"] if letter.date else []),
        f"Subject: [PATCH 0/{patches}] {letter.title}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=UTF-8",
        "Content-Transfer-Encoding: 8bit",
    ]
    return "\n".join(head).encode() + b"\n\n" + letter.body + letter.trailers
