"""The documents say what is so."""

import re
import runpy
import subprocess

import pytest

from tests.conftest import ROOT, run

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_configuration_page_is_written_from_the_settings() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "configuration.py"))["page"]()
    assert made == (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


def test_every_source_file_has_its_line_in_the_readme() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    sources = [line for line in listed.splitlines() if not line.startswith("tests/") and "__init__" not in line]
    assert [path for path in sources if f"{path.rsplit('/', 1)[-1]} " not in README] == []


@pytest.mark.parametrize("command", sorted(set(re.findall(r"bin/earful (\w+)", README))))
def test_every_command_of_the_readme_exists(command: str) -> None:
    assert run(command, "--help").exit_code == 0


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(((?!http)[^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
