"""README.md and docs/ are true: what they tell people to type works, what they link to exists, and they are short."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import httpx
import pytest
import snippets
import yaml

from flowcontract.lint.refusals import WORDS
from mockserver import MockServer, Settings

ROOT = snippets.ROOT
TEXTS = [*snippets.PAGES, ROOT / "ARCHITECTURE.md", ROOT / "SECURITY.md"]


def name(page: Path) -> str:
    """Return a page's path in the repository, which a red test names."""
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def mock() -> Iterator[MockServer]:
    """Run one mock for all pages that start none."""
    with MockServer(settings=Settings(pace=0)) as running:
        yield running


@pytest.mark.skipif(shutil.which("curl") is None, reason="the pages use curl")
@pytest.mark.parametrize("page", snippets.PAGES, ids=name)
def test_what_a_page_tells_people_to_type_works(page: Path, mock: MockServer, tmp_path: Path) -> None:
    """Each block of a page does what it says, one after the other, in a folder that begins empty."""
    mock.reset()
    desk = snippets.Desk(tmp_path / "page", mock.origin, page.read_text(encoding="utf-8"))
    try:
        for block in snippets.collect(page):
            desk.run(block)
    finally:
        desk.leave()


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("```sh\nmockserver list --api dify-chatt\n```", "exit status 2, not 0"),
        ("```sh\ncurl http://127.0.0.1:8080/v1/nowhere\n```", "is answered with 404"),
        ("```sh\nnox -s nowhere\n```", "the project has none"),
        ("```sh\npip install '.[nowhere]'\n```", "the project has none"),
        ("```console\n$ echo one\ntwo\n```", "and the page says\ntwo"),
        ("```python\nassert False\n```", "exit status 1"),
        ("```python\ndef test_it():\n    assert False\n```", "1 failed"),
        ("```yaml\n{\n```", "it is no yaml"),
        ("```toml\na = \n```", "it is no toml"),
        ("```rust\nfn main() {}\n```", 'nobody knows how to run "rust"'),
        ("```\nhello\n```", 'nobody knows how to run ""'),
        ("<!-- quotes: noxfile.py -->\n```python\nimport antigravity\n```", "noxfile.py has no such lines"),
        ("<!-- exit status: 1 -->\n```sh\ntrue\n```", "exit status 0, not 1"),
    ],
)
def test_block_that_is_wrong_is_noticed(block: str, problem: str, mock: MockServer, tmp_path: Path) -> None:
    """Every way of being wrong turns the page's test red, with the block's place."""
    page = ROOT / "docs" / "wrong.md"
    text = tmp_path / "wrong.md"
    text.write_text(block, encoding="utf-8")
    (found,) = snippets.collect(text)
    desk = snippets.Desk(tmp_path / "page", mock.origin)
    found = snippets.Block(page, found.line, found.language, found.text, found.mark, found.argument)
    with pytest.raises(snippets.SnippetError) as error:
        desk.run(found)
    desk.leave()
    assert problem in str(error.value)
    assert str(error.value).startswith(f"docs/wrong.md:{found.line}: ")


def test_block_that_is_not_run_has_a_reason() -> None:
    """Nobody leaves a block unrun without saying why, and few need to."""
    blocks = [block for page in snippets.PAGES for block in snippets.collect(page)]
    typed = [block for block in blocks if block.language != "text"]
    unrun = [block for block in typed if block.mark == "not run"]
    assert [block.place for block in unrun if len(block.argument.split()) < 4] == []
    assert len(unrun) * 5 < len(typed)


def anchors(page: Path) -> set[str]:
    """Return what can be linked to on a page: its headings, as GitHub and MyST name them."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    named = re.findall(r'<a id="([^"]+)">', text)
    return {*named, *(re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads)}


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_link_leads_somewhere(page: Path) -> None:
    """Every link of a page to a file of this repository, or to a heading, leads to one that exists."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_index_lists_each_page() -> None:
    """Whoever begins at docs/index.md finds every page, once."""
    docs = ROOT / "docs"
    text = (docs / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    listed = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    pages = [page.relative_to(docs).with_suffix("").as_posix() for page in docs.rglob("*.md")]
    assert sorted(listed) == sorted(page for page in pages if page != "index")


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_sentence_after_a_block_begins_with_a_capital(page: Path) -> None:
    """A block ends a sentence; what follows is a sentence of its own."""
    text = page.read_text(encoding="utf-8")
    starts = re.findall(r"^ *```[^\n]*\n.*?^ *```\n+([^\n]*)", text, re.MULTILINE | re.DOTALL)
    assert [start for start in starts if re.match(r" *[a-zäöü]", start)] == []


def load(path: str) -> ModuleType:
    """Return a script of docs/ as a module."""
    spec = util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_options_are_those_of_the_parsers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference has each option of each command; `python docs/reference/make_options.py` brings it up to date."""
    monkeypatch.setenv("MOCKSERVER_PORT", "9999")
    script = load("docs/reference/make_options.py")
    assert script.page() == (ROOT / "docs/reference/options.md").read_text(encoding="utf-8")


def test_admin_api_has_each_path(mock: MockServer) -> None:
    """The reference lists what `GET /__mock__` lists."""
    paths = httpx.get(f"{mock.origin}/__mock__", trust_env=False).json()["paths"]
    rows = re.findall(
        r"^\| `(.+?)` \|", (ROOT / "docs/reference/admin-api.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(row for row in rows if "/__mock__" in row) == sorted(paths)


def test_refusals_have_each_word() -> None:
    """The reference explains every word that an `x-refusals` may have."""
    text = (
        (ROOT / "docs/reference/contract.md").read_text(encoding="utf-8").split("## Refusals")[1].split("## Sources")[0]
    )
    assert [word for word in WORDS if f"`{word}`" not in text] == []


def test_target_file_has_each_setting() -> None:
    """The reference's target file is a valid one, and shows every setting."""
    schema = yaml.safe_load((ROOT / "contract_tests/config/target.schema.yaml").read_text(encoding="utf-8"))
    text = (ROOT / "docs/reference/target-file.md").read_text(encoding="utf-8")
    tables = [schema, schema["properties"]["timeouts"], *schema["$defs"].values()]
    settings = {name for table in tables for name in table.get("properties", {})}
    assert [name for name in settings if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize(
    ("page", "problems"),
    [
        ('<link href="https://fonts.example.com/a.css" rel="stylesheet"><a href="https://example.com">', 1),
        ('<script src="//cdn.example.com/a.js"></script><img src="a.png"><script src="a.js"></script>', 1),
        ("<style>@import 'https://example.com/a.css'; b { background: url(https://example.com/b.png) }</style>", 2),
        ('<link rel="canonical" href="https://example.com/"><a href="https://example.com">here</a>', 0),
    ],
)
def test_page_that_fetches_from_elsewhere_is_noticed(page: str, problems: int, tmp_path: Path) -> None:
    """A link may lead away; a font, a script, a style or a picture may not come from elsewhere."""
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    assert len([*load("docs/self_contained.py").fetched(tmp_path)]) == problems


@pytest.mark.parametrize(("page", "least", "most"), [("README.md", 600, 800), ("ARCHITECTURE.md", 600, 1500)])
def test_text_is_read_in_one_sitting(page: str, least: int, most: int) -> None:
    """What a stranger reads first is short; everything else is in docs/."""
    assert least <= len((ROOT / page).read_text(encoding="utf-8").split()) <= most
