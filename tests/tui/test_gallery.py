"""The pictures in docs/ are those that `make pictures` draws, and the gallery shows no other."""

import re
from pathlib import Path

from rackberry_tui.pictures import PICTURES

DOCS = Path(__file__).parents[2] / "docs"


def test_every_picture_is_drawn_and_none_is_left_over():
    drawn = {f"{picture.name}.svg" for picture in PICTURES}
    assert {path.name for path in (DOCS / "pictures").glob("*.svg")} == drawn


def test_the_gallery_and_the_readme_show_pictures_that_there_are():
    for page in (DOCS / "screens.md", DOCS.parent / "README.md"):
        links = re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
        assert links
        for link in links:
            assert (page.parent / link).is_file(), link
