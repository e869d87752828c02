"""Sections of docs/SPEED.md that scripts write."""

import sys

from llamacpp_common import ROOT

SPEED = ROOT / "docs/SPEED.md"


def write_section(title, begin, end, text):
    """Writes a text between two markers, and adds a section for it if there is none."""
    old = SPEED.read_text()
    if begin in old:
        before, rest = old.split(begin, 1)
        if end not in rest:
            sys.exit(f"{SPEED}: {begin} without {end}")
        after = rest.split(end, 1)[1]
    else:
        before, after = f"{old.rstrip()}\n\n## {title}\n\n", "\n"
    SPEED.write_text(f"{before}{begin}\n{text}\n{end}{after}")
