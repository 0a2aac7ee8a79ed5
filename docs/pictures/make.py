"""Makes report.png: a terminal in which `contract-tests` has found something, beside the report of the same run.

    pip install '.[suite]' weasyprint pypdfium2 pillow && python docs/pictures/make.py

The server that is asked is the mock with one scenario that forgets a field. WeasyPrint needs Pango on the machine.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pypdfium2
from PIL import Image, ImageChops
from weasyprint import CSS, HTML

from flowcontract.paths import find_fixtures_root
from mockserver import MockServer, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

PICTURE = Path(__file__).with_name("report.png")
FORGOTTEN = ("getWorkflowRun/200-default.yaml", "elapsed_time: $world")
"""Which scenario lacks which of its lines."""
SERVER = "http://new-server:5001"
SCALE = 2
COLUMNS = 96
TERMINAL = """
<style>
@page {{ size: 760px 2000px; margin: 0 }}
body {{ margin: 0; background: white }}
pre {{ margin: 0; padding: 16px 20px; border-radius: 10px; background: #16181d; color: #d6d9df;
       font: 12.2px/1.5 "DejaVu Sans Mono", monospace; white-space: pre-wrap }}
b {{ color: #8fd0ff }} i {{ color: #ff8f8f; font-style: normal; font-weight: bold }}
</style><pre>{lines}</pre>
"""
PAPER = "@page { size: 900px 3000px; margin: 0 } h1, dt, dd { white-space: nowrap }"
GAP, MARGIN, HEIGHT = 24, 32, 560


def ask(folder: Path) -> list[str]:
    """Ask a mock that forgets a field; return what the terminal shows, and leave the report in a folder."""
    name, forgotten = FORGOTTEN
    scenario = folder / "wrong" / "dify-workflow" / name
    scenario.parent.mkdir(parents=True)
    lines = (find_fixtures_root() / "dify-workflow" / name).read_text(encoding="utf-8").splitlines()
    scenario.write_text("\n".join(line for line in lines if forgotten not in line), encoding="utf-8")
    with MockServer(["dify-workflow"], fixtures=folder / "wrong", settings=Settings(pace=0)) as mock:
        options = f"--base-url {mock.origin} --api dify-workflow --report out"
        command = [sys.executable, "-m", "contract_tests", *options.split()]
        environment = os.environ | {"COLUMNS": str(COLUMNS), "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)  # noqa: S603
    shown = [line for line in renamed(done.stdout).splitlines() if not re.match(r" *\d+ (%|s:)", line)]
    return [f"$ contract-tests --base-url {SERVER} --api dify-workflow --report out", *shown]


def renamed(text: str) -> str:
    """Return a text in which the server has a name that says more than a free port."""
    return re.sub(r"http://127\.0\.0\.1:\d+", SERVER, text)


def draw(source: str, styles: Sequence[Any] = ()) -> Image.Image:
    """Return a page as a picture, without what is empty below and beside it."""
    pdf = pypdfium2.PdfDocument(HTML(string=source).write_pdf(stylesheets=list(styles)))
    picture = pdf[0].render(scale=SCALE).to_pil().convert("RGB")
    empty = Image.new("RGB", picture.size, "white")
    return picture.crop(ImageChops.difference(picture, empty).getbbox())


def colour(line: str) -> str:
    """Return a line of the terminal as HTML."""
    text = html.escape(line)
    if line.startswith("$"):
        return f"<b>{text}</b>"
    return f"<i>{text}</i>" if line.startswith(("FAILED", "1 ")) else text


def main() -> None:
    """Make the picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = ask(folder)
        report = (folder / "out" / "report.html").read_text(encoding="utf-8")
    terminal = draw(TERMINAL.format(lines="\n".join(colour(line) for line in lines)))
    page = draw(renamed(report), [CSS(string=PAPER)])
    sheet = Image.new("RGB", (page.width + 2 * MARGIN, HEIGHT * SCALE), "white")
    sheet.paste(page, (MARGIN, MARGIN))
    size = (terminal.width + sheet.width + 3 * GAP, max(terminal.height, sheet.height) + 2 * GAP)
    whole = Image.new("RGB", size, "#eceef2")
    whole.paste(terminal, (GAP, GAP))
    whole.paste(sheet, (terminal.width + 2 * GAP, GAP))
    whole.quantize(64).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
