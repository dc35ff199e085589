"""The pages: what they name (commands, options, settings, code, files) is there, and all is named.

A link to a Python file whose text is a name, as in [`bezier`](../doodcli/model/renderer.py), says
that the name is defined there.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from typer.main import get_command

from doodcli.cli import app
from doodcli.settings import PRESETS, Settings, change_by_text, flat, preset

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
}
# These speak of commands in passing; what an option means is said on the pages of the commands.
IN_PASSING = {"README", "model", "paper-map", "deviations", "extend"}
OF_COMMANDS = {name: PAGES[name] for name in PAGES if Path(name).stem not in IN_PASSING}
EVERY = pytest.mark.parametrize("page", PAGES)

BLOCK = re.compile(r"^```.*?^```$", re.M | re.S)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"(?<!\\)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.M)
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


class Command(NamedTuple):
    """A command of `dood`, or a group that also does something by itself."""

    name: str
    """`dood data list`"""
    options: list[list[str]]
    """long names of each, as in [--train, --no-train]"""


def _commands(found: Any, name: str) -> Iterator[Command]:
    below = getattr(found, "commands", {})
    if not below or (found.invoke_without_command and name != "dood"):
        names = [[*p.opts, *p.secondary_opts] for p in found.params]
        long = [[n for n in each if n.startswith("--")] for each in names]
        yield Command(name, [each for each in long if each])
    for word, one in below.items():
        yield from _commands(one, f"{name} {word}")


COMMANDS = {command.name: command for command in _commands(get_command(app), "dood")}
OF_EVERY = pytest.mark.parametrize("name", COMMANDS)


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return BLOCK.sub("", text)


def code(text: str) -> Iterator[str]:
    """The lines of code of a page, those that go on joined, and its spans."""
    for block in BLOCK.findall(text):
        joined = block.replace("\\\n", " ")
        yield from joined.splitlines()[1:-1]
    for line in text.splitlines():
        if line.startswith("    "):  # indented code, or a list that goes on: no command starts so
            yield line.strip()
    yield from SPAN.findall(prose(text))


def calls(text: str) -> Iterator[tuple[Command, str]]:
    """Each call of `dood` in the code of a page, with what follows it up to the next command.

    But for commands that the page itself adds (docs/extend.md).
    """
    added = re.findall(r"^\+app\.command\(\)\(\w+\.(\w+)\)", text, re.M)
    for line in code(text):
        for call in re.findall(r"(?:^\s*(?:\$ )?|\$\(|; )(dood [a-z][^;#$|)]*)", line):
            words = call.split()
            if words[1] in added:
                continue
            # `dood data list`, `fetch`: the longest known name.
            known = [n for n in (3, 2) if " ".join(words[:n]) in COMMANDS]
            group = any(name.startswith(f"{' '.join(words[:2])} ") for name in COMMANDS)
            assert known or (group and len(words) == 2), f"{line!r} names no command"
            if known:
                yield COMMANDS[" ".join(words[: known[0]])], call


def names_option(text: str, names: list[str]) -> bool:
    """Whether a text names an option by one of its names."""
    return any(name in OPTION.findall(text) for name in names)


def section(text: str, title: str) -> str:
    """What stands below a heading, up to the next one."""
    return re.split(r"^#+ ", text.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.M)[0]


@OF_EVERY
def test_a_command_is_the_subject_of_a_page(name: str) -> None:
    root = " ".join(name.split()[:2])
    headed = [p for p in OF_COMMANDS.values() if f"`{root}" in " ".join(HEADING.findall(p))]
    assert headed, f"no heading of docs/ names `{root}`"
    assert any(name in text for text in headed), f"no page about {root} names {name}"


@OF_EVERY
def test_an_option_is_named_where_its_command_is(name: str) -> None:
    everywhere = section(PAGES["docs/README.md"], "Options of every command")
    pages = [text for text in OF_COMMANDS.values() if name in text]
    lacking = [
        each
        for each in COMMANDS[name].options
        if not names_option(everywhere, each) and not any(names_option(p, each) for p in pages)
    ]
    assert not lacking, f"{name}: no page that names it names {lacking}"


@EVERY
def test_commands_and_options_in_examples_are_there(page: str) -> None:
    for command, call in calls(PAGES[page]):
        known = {name for each in command.options for name in each}
        unknown = set(OPTION.findall(call)) - known
        assert not unknown, f"{call!r}: {command.name} has no {unknown}"


@EVERY
def test_settings_that_a_page_names_are_there(page: str) -> None:
    known = flat(Settings())
    for text in SPAN.findall(prose(PAGES[page])):
        found = re.fullmatch(r"((?:model|learning|data)\.\w+)(?:=(\S+))?", text)
        if found is None or text.endswith(".py"):
            continue
        assert found[1] in known, text
        if found[2] not in (None, "…"):
            change_by_text(Settings(), [text])


@EVERY
def test_links_lead_somewhere(page: str) -> None:
    for _, target in LINK.findall(prose(PAGES[page])):
        if re.match(r"https?://|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        path = ((ROOT / page).parent / name) if name else ROOT / page
        assert path.exists(), f"{page}: {target} does not exist"
        if anchor:
            headings = HEADING.findall(prose(path.read_text("utf-8")))
            assert anchor in map(slug, headings), f"{page}: {target} has no such heading"


def slug(heading: str) -> str:
    """The anchor that a heading has on a page of a code host."""
    plain = LINK.sub(r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def test_a_slug_is_what_a_code_host_makes_of_a_heading() -> None:
    assert slug("What the latents say: `dood strokes`, `dood probe`") == (
        "what-the-latents-say-dood-strokes-dood-probe"
    )
    assert slug("Six models, one core") == "six-models-one-core"


@functools.cache
def defined(path: Path) -> frozenset[str]:
    """Names that a module defines: functions, classes with what is in them, constants."""
    return frozenset(_defined(ast.parse(path.read_text("utf-8")).body, ""))


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for item in body:
        if isinstance(item, ast.ClassDef | ast.FunctionDef):
            yield prefix + item.name
            if isinstance(item, ast.ClassDef):
                yield from _defined(item.body, f"{prefix}{item.name}.")
        elif isinstance(item, ast.Assign | ast.AnnAssign):
            targets = item.targets if isinstance(item, ast.Assign) else [item.target]
            yield from (prefix + t.id for t in targets if isinstance(t, ast.Name))


@EVERY
def test_names_are_defined_where_links_say(page: str) -> None:
    for text, target in LINK.findall(prose(PAGES[page])):
        if not target.endswith(".py"):
            continue
        path = ((ROOT / page).parent / target).resolve()
        name = text.strip("`")
        if name.endswith(".py"):
            assert path.as_posix().endswith(f"/{name}"), f"{page}: {name} leads to {target}"
        else:
            assert name in defined(path), f"{page}: {target} does not define {name}"


def test_the_index_has_every_page() -> None:
    linked = {target for _, target in LINK.findall(PAGES["docs/README.md"])}
    assert {path.name for path in DOCS.glob("*.md")} - {"README.md"} <= linked


@pytest.mark.parametrize(
    "what",
    [
        *(f"Eq. {number}" for number in range(1, 10)),
        *(f"Fig. {number}" for number in range(1, 9)),
        "Table 1",
        *(f"§ {number}" for number in ("2.1", "2.2", "2.3", "3.1", "3.2")),
        *(f"Appendix {letter}" for letter in "ABCD"),
    ],
)
def test_the_map_has_all_of_the_paper(what: str) -> None:
    rows = [line for line in PAGES["docs/paper-map.md"].splitlines() if line.startswith("| ")]
    about = re.compile(rf"{re.escape(what)}(?![0-9])")
    assert any(about.search(row.split("|")[1]) for row in rows), f"no row is about {what}"


def test_the_presets_are_what_the_page_says() -> None:
    text = PAGES["docs/settings.md"]
    rows = [re.split(r" *\| *", line)[1:-1] for line in text.splitlines() if line.startswith("| `")]
    said = {row[0].strip("`"): row[1:-1] for row in rows}
    assert list(said) == list(PRESETS)
    for name, row in said.items():
        model, learning = preset(name).model, preset(name).learning
        minutes, steps = learning.minutes, learning.steps
        length = f"{steps:,} steps" if minutes is None else f"{minutes:g} minutes"
        assert row == [str(model.hidden), str(model.components), str(learning.batch_size), length]
