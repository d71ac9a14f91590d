"""README and docs/ against the project: links, paths, commands, settings; and what docs/add_a_gan.md builds, built."""

import json
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from checkout import Checkout, new_checkout
from PIL import Image

from synthmed.cli import _arguments, _parser
from synthmed.commands import judge
from synthmed.core.settings import parse
from synthmed.data import sources
from synthmed.generators import GENERATORS
from synthmed.steps import STEPS

ROOT = Path(__file__).parents[1]
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code of a page. before: the text of the page above it."""

    page: str
    language: str
    text: str
    before: str

    def commands(self, program: str) -> list[list[str]]:
        """The words of each command line that begins with `program`, comments left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        split = [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program} ")]
        return [] if self.language not in ("", "sh") else split


BLOCKS = [
    Block(page, found[1], found[2], text[: found.start()])
    for page, text in PAGES.items()
    for found in FENCE.finditer(text)
]


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_links_lead_somewhere():
    wrong = []
    for page, text in PAGES.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text)):
            if target.startswith(("https://", "http://")):
                continue
            name, _, part = target.partition("#")
            path = (ROOT / page).parent / name if name else ROOT / page
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE) if part and path.exists() else []
            if not path.exists() or (part and part not in map(anchor, headings)):
                wrong.append(f"{page}: {target}")
    assert wrong == []


def test_files_that_are_named_exist():
    named = re.compile(r"`((?:src|tests|docs|workflow|envs|profiles|benchmarks)/[\w/.*-]*)`")
    wrong = [
        f"{page}: {path}"
        for page, text in PAGES.items()
        for path in named.findall(text)
        if "toygan" not in path and not list(ROOT.glob(path.rstrip("/")))
    ]
    assert wrong == []


def test_every_command_of_synthmed_is_one(capsys):
    commands = [(block.page, words) for block in BLOCKS for words in block.commands("synthmed")]
    assert len(commands) > 8
    for page, words in commands:
        try:
            _arguments(words[1:])
        except SystemExit:
            pytest.fail(f"{page}: {shlex.join(words)}\n{capsys.readouterr().err}")


def test_verbs_and_options_in_running_text_are_there(capsys):
    wrong = []
    for page, text in PAGES.items():
        for command in re.findall(r"`synthmed ([^`]+)`", FENCE.sub("", text)):
            words = command.split()
            verb = words[: 2 if words[0] == "images" else 1]
            if verb[0].startswith("-") or verb[0] in ("<verb>", "VERB"):
                continue
            with pytest.raises(SystemExit):
                _parser().parse_args([*verb, "--help"])
            described = capsys.readouterr().out
            wrong += [f"{page}: {command}" for word in words if word.startswith("--") and word not in described]
            wrong += [f"{page}: {command}"] if not described else []
    assert wrong == []


def settings_file(page: str, name: str) -> str | None:
    """What a page says stands in the settings file `name`: a here-document, or a block that the line above names."""
    for block in BLOCKS:
        if block.page != page:
            continue
        if here := re.search(rf"^cat > {re.escape(name)} <<'END'\n(.*?)^END$", block.text, re.MULTILINE | re.DOTALL):
            return here[1]
        if block.language == "json" and f"`{name}`" in block.before.rstrip().rpartition("\n")[2]:
            return block.text
    return None


def test_settings_files_that_are_printed_can_be_used():
    found = []
    for block in BLOCKS:
        for words in block.commands("synthmed"):
            name = words[words.index("--settings") + 1] if "--settings" in words else None
            if name and (text := settings_file(block.page, name)):
                _, config = STEPS[words[1]].load()
                workers = _arguments(words[1:]).workers
                values = json.loads(text) | ({} if workers is None else {"workers": workers})
                parse(config, values, f"{block.page}: {name}")
                found.append(words[1])
    assert {"fetch", "prepare", "prepare-dicom", "latent-samples", "disease-axes", "move-along-axes"} <= {*found}


def test_python_for_photographs_of_your_own_runs(tmp_path, monkeypatch, capsys):
    (code,) = (block.text for block in BLOCKS if (block.page, block.language) == ("docs/melanoma.md", "python"))
    framed = np.full((64, 64, 3), 180, np.uint8)
    framed[np.hypot(*np.mgrid[-32:32, -32:32]) > 34] = 5
    Image.fromarray(framed).save(tmp_path / "ISIC_0000001.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert re.fullmatch(r"frame [1-9][\d.]*%, hair 0.0% of the pixels\n", capsys.readouterr().out)
    assert np.asarray(Image.open("without.png")).min() > 100


def test_targets_of_make_and_keys_of_params_are_there():
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for block in BLOCKS:
        for words in block.commands("make"):
            assert words[1] in targets, block.page
        for words in block.commands("dvc"):
            for change in (word for word in words if "=" in word):
                node = yaml.safe_load((ROOT / "params.yaml").read_text())
                for key in change.partition("=")[0].split("."):
                    assert key in node, f"{block.page}: {change}"
                    node = node[key]


def printed_data_sets() -> dict[str, str]:
    """Name → text of the data sets that the pages print as entries of `datasets`."""
    texts = [block.text for block in BLOCKS if block.language == "yaml"]
    return {found[1]: text for text in texts if (found := re.match(r"  (\w+):\n    source: ", text))}


def test_a_data_set_of_ours_that_is_printed_is_that_of_params():
    ours = yaml.safe_load((ROOT / "params.yaml").read_text())["datasets"]
    printed = {name: yaml.safe_load(text)[name] for name, text in printed_data_sets().items() if name in ours}
    assert printed
    assert printed == {name: ours[name] for name in printed}


def test_blocks_take_in_what_params_has():
    """By anchors: `*name` in what a page prints is marked there, or in params.yaml."""
    params = (ROOT / "params.yaml").read_text()
    wrong = [
        f"{block.page}: *{name}"
        for block in BLOCKS
        if block.language == "yaml"
        for name in re.findall(r"[ \[]\*(\w+)", block.text)
        if not re.search(rf"&{name}\b", params + block.text)
    ]
    assert wrong == []


# ------------------------------------------------------------------------------------------- what the pages let you add
def insert(checkout: Checkout, name: str, text: str, before: str, after: str = "") -> None:
    """`text` into a file of the checkout, above the first line that begins with `before`, below one with `after`."""
    path = checkout.path / name
    found = re.search(rf"^{after}(?s:.*?)^(?={before})", path.read_text(), re.MULTILINE)
    assert found, f"{name} has no line {before!r} after {after!r}"
    path.write_text(path.read_text()[: found.end()] + text + path.read_text()[found.end() :])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Checkout:
    """The project, its params.yaml with every data set and the experiment that the pages print."""
    checkout = new_checkout(tmp_path_factory.mktemp("docs") / "checkout", overlay=None)
    ours = yaml.safe_load((checkout.path / "params.yaml").read_text())["datasets"]
    for name, text in printed_data_sets().items():
        if name not in ours:
            insert(checkout, "params.yaml", text, before="experiments:")
    (example,) = (block.text for block in BLOCKS if "\n  pneumonia:\n" in block.text)
    marked, _, section = example.partition("\n  pneumonia:\n")
    insert(checkout, "params.yaml", f"  pneumonia:\n{section}\n", before="  chest_findings:")
    params = checkout.path / "params.yaml"
    text = params.read_text()
    for key, name in re.findall(r"^( +\w+:) (&\w+)", marked, re.MULTILINE):
        text = text.replace(f"\n{key}\n", f"\n{key} {name}\n", 1)
    params.write_text(text)
    return checkout


@pytest.fixture(scope="module")
def planned(checkout) -> str:
    """What a dry run prints that is asked for everything, and for every file that a command of the pages names: each
    entry passes the checks of the settings, and each file can be made."""
    targets = {"all", "experiment_pneumonia"}
    for block in BLOCKS:
        for words in block.commands("snakemake"):
            words = [word.replace("EXPERIMENT", "tuberculosis") for word in words]
            targets |= {word for word in words if word.startswith(("results/", "data_", "experiment_"))}
    assert len(targets) > 5
    return checkout.snakemake("-n", "--quiet", "host", "--", *sorted(targets)).stdout


@pytest.mark.workflow
def test_every_output_that_the_readme_explains_is_made(planned):
    table = PAGES["README.md"].partition("| in `results/<experiment>/` | |\n")[2].partition("\n\n")[0]
    assert table
    for row in table.splitlines()[1:]:
        names = re.findall(r"`([^`]+)`", row.split("|")[1])
        folder = names[0].rpartition("/")[0]
        for name in names:
            path = name if "/" in name else f"{folder}/{name}".lstrip("/")
            assert re.search(rf"results/\w+/{re.sub('<[a-z]+>', '[^/]+', path)}", planned), name


def test_documents_that_are_named_are_those_of_the_list():
    """By number, with experiments that stand beside them; nothing is named that is not in the repository."""
    listed = dict(re.findall(r"^\| (seed \d+) \|.*\| ([\w, ]+) \|$", PAGES["docs/README.md"], re.MULTILINE))
    beside = {path.stem for path in ROOT.glob("src/synthmed/report/references/*.yaml")}
    assert {name for names in listed.values() for name in names.split(", ")} == beside
    carried = [path for room in ("src", "docs", "workflow", "benchmarks") for path in (ROOT / room).rglob("*")]
    for path in [*carried, ROOT / "README.md", ROOT / "params.yaml"]:
        if path.suffix in (".py", ".md", ".yaml", ".smk", ".j2"):
            text = path.read_text(encoding="utf-8")
            assert set(re.findall(r"\bseed 00\d\b", text)) <= set(listed), path
            assert not re.search(r"\b(SYSTEMS|STUDIES|STATISTICS|PEERS|MOVES)\b(?! =)(?=\.md| [A-Z]\d)", text), path


def test_the_documents_are_cited_alike():
    references = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    page = " ".join(PAGES["docs/licences.md"].partition("## The five documents")[2].split())
    listed = re.findall(r"- (.*?), (.*?), (?:master's|bachelor's|independent)(.*?)\.(?= - |$)", page)
    assert [title for _, title, _ in listed] == [reference["title"] for reference in references]
    for (authors, title, where), reference in zip(listed, references, strict=True):
        names = [f"{author['given-names']} {author['family-names']}" for author in reference["authors"]]
        assert authors == " and ".join(names), title
        assert reference["institution"]["name"] in where, title
        assert re.findall(r"\d{4}", where) == [str(reference[key]) for key in ("year",) if key in reference], title


def test_pages_name_the_generators_that_there_are():
    listed = PAGES["README.md"].partition("Generators (")[2].partition(" learn ")[0].lower()
    assert not {name for name in GENERATORS if name not in listed} - {"deformed_masks"}
    nuclei = yaml.safe_load((ROOT / "params.yaml").read_text())["experiments"]["nuclei"]["generators"]
    table = PAGES["docs/nuclei.md"].partition("| entry of `generators` |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) == set(nuclei)


def test_methods_are_keys_of_the_experiment_that_is_named_for_them():
    experiments = yaml.safe_load((ROOT / "params.yaml").read_text())["experiments"]
    page = PAGES["docs/add_an_experiment.md"]
    named = dict(re.findall(r"`(chest_findings|melanoma)` has ((?:`\w+`[\w\s,]*)+)", page))
    assert len(named) == 2
    for name, keys in named.items():
        assert set(re.findall(r"`(\w+)`", keys)) - {"prediction"} <= set(experiments[name]), name


def test_settings_over_params_that_are_named_are_there():
    commands = [words for block in BLOCKS for words in block.commands("snakemake") if "--configfile" in words]
    named = {words[words.index("--configfile") + 1] for words in commands}
    ours = {name for name in named if "workflow/" in name}
    assert ours
    assert all((ROOT / name).exists() for name in ours), ours


@pytest.mark.workflow
def test_the_gan_of_the_page_is_one_after_its_steps(checkout):
    """docs/add_a_gan.md followed to the letter: the files under its headings, then the commands that it names."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tests", checkout.path / "tests", ignore=ignored, dirs_exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", checkout.path)
    page = PAGES["docs/add_a_gan.md"]
    for block in (block for block in BLOCKS if block.page == "docs/add_a_gan.md"):
        heading = block.before.rstrip().rpartition("\n")[2]
        (name,) = re.findall(r"`((?:src|tests|workflow)/[^`]+|params\.yaml)`", heading)
        if name == "params.yaml":
            insert(checkout, name, block.text, before="    domain_extractor:", after="  tuberculosis:")
        elif (checkout.path / name).exists():
            insert(checkout, name, block.text, before="}")
        else:
            (checkout.path / name).write_text(block.text)
    (line,) = re.findall(r"`(\"toygan\": .*,)`", page)
    insert(checkout, "src/synthmed/generators/__init__.py", f"    {line}\n", before="}")
    assert "`make schemas`" in page
    checkout.run(sys.executable, "-m", "synthmed", "schemas", "--out", "workflow/schemas")
    named = re.findall(r"`pytest ([^`]*)`", page)
    assert named
    for command in named:
        checkout.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *command.split())
    # "Use it": the dry run shows its two trainings, and `synthmed describe` its layers.
    planned = checkout.snakemake("-n", "--", "results/tuberculosis/images/synthetic/toygan.zip").stdout
    assert {*re.findall(r"generators/toygan/(\w+)\.pt", planned)} == {"normal", "abnormal"}
    for described in re.findall(r"`synthmed (describe [^`]*)`", page):
        assert "generator" in checkout.run(sys.executable, "-m", "synthmed", *described.split()).stdout


@pytest.mark.workflow
def test_images_that_were_made_elsewhere_are_a_generator_after_the_page(checkout):
    """docs/judge.md; its data set is in the checkout already."""
    (entry,) = (block.text for block in BLOCKS if block.page == "docs/judge.md" and "model: external" in block.text)
    insert(checkout, "params.yaml", entry, before="    domain_extractor:", after="  tuberculosis:")
    planned = checkout.snakemake("-n", "--", "results/tuberculosis/images/synthetic/my_diffusion.zip").stdout
    rules = {*re.findall(r"^(?:local)?rule (\w+):", planned, re.MULTILINE)}
    assert rules == {"fetch_my_diffusion_images_raw", "prepare_external"}


def test_the_page_of_judge_says_what_it_knows():
    """Its options with their defaults, the names of columns and of healthy classes, and its numbers."""
    page = PAGES["docs/judge.md"]
    given = vars(_arguments(["judge", "--real", "r", "--synthetic", "s", "--out", "o.html"]))
    options = {f"`--{name.replace('_', '-')}`" for name in given if name != "verb"}
    described = {name for row in re.findall(r"^\| (`--.*?) \|", page, re.MULTILINE) for name in row.split(", ")}
    assert described == options
    assert f"{given['size']} by default" in page
    assert f"{given['cores']} by default" in page
    for names in judge.COLUMNS.values():
        assert f" | {', '.join(f'`{name}`' for name in names)} |" in page
    assert f"{', '.join(f'`{name}`' for name in judge.HEALTHY)}." in page
    quantile = yaml.safe_load((ROOT / "workflow/judge.yaml").read_text())["experiments"]["judge"]["copies"]["quantile"]
    learnt = 1 - judge.VALIDATION
    for number in (judge.TEST, judge.VALIDATION, learnt, learnt - judge.TEST, quantile):
        assert f"{number:.0%}".replace("%", " %") in page
    assert f"fewer than {judge.FEWEST} test images" in page


def test_the_table_of_licences_is_what_the_sources_say():
    table = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    words = {"allowed": "yes", "forbidden": "no", "ask": "say so: `--terms`"}
    for name in sources.SOURCES:
        source = sources.load(name)
        assert f"| `{name}` | {source.LICENCE} | {words[source.SHARING]} |" in table


def test_the_table_of_scales_has_every_file_with_its_experiments_and_those_of_the_paper():
    def of(path: Path) -> set[str]:
        return set(yaml.safe_load(path.read_text())["experiments"])

    page = PAGES["docs/scales.md"]
    rows = dict(re.findall(r"^\| `(\w+\.yaml)`.*? \| ([^|]+) \|", page, re.MULTILINE))
    assert set(rows) == {path.name for path in ROOT.glob("workflow/scales/*.yaml")}
    everything = of(ROOT / "workflow/scales/paper.yaml")
    for name, experiments in rows.items():
        named = everything if experiments == "all" else set(re.findall(r"`(\w+)`", experiments))
        assert named == of(ROOT / "workflow/scales" / name), name
    listed = re.findall(r"^\| (`.*?) \|", page.partition("| experiment | images | how |\n")[2], re.MULTILINE)
    assert everything == set(re.findall(r"`(\w+)`", " ".join(listed)))


def test_the_index_of_the_docs_names_every_page():
    folder = ROOT / "docs"
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert not [page.name for page in folder.glob("*.md") if page.name != "README.md" and f"({page.name})" not in index]
