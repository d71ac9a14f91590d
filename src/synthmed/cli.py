"""The command line: one verb per step, and a few for people. The only place that parses arguments."""

import argparse
import contextlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from synthmed import __version__
from synthmed.core.errors import InputError
from synthmed.core.files import explained, printable, readable
from synthmed.steps import STEPS, Argument, Step, step_code

logger = logging.getLogger("synthmed")


def _description(step: Step) -> str:
    return f"{step.help} ({step.module})."


def _step_parser(parser: argparse.ArgumentParser, step: Step) -> None:
    parser.add_argument("--settings", type=Path, required=True, metavar="FILE", help="settings of the step, JSON")
    parser.add_argument("--log", type=Path, metavar="FILE", help="also write the log here")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="the setting `workers` of a preparation, which changes nothing of what is made: its settings lack it",
    )
    for file in step.files:
        what = "input" if file in step.inputs else "output"
        parser.add_argument(
            file.option,
            type=Path,
            nargs="*" if file.many else "?" if file.optional else None,
            required=not file.optional and not file.many,
            default=[] if file.many else None,
            metavar="FILE",
            help=f"{what}{' (several)' if file.many else ''}{' (may be left out)' if file.optional else ''}",
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="synthmed", description=sys.modules["synthmed"].__doc__)
    parser.add_argument("--version", action="version", version=f"synthmed {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, step in STEPS.items():
        _step_parser(verbs.add_parser(verb, help=step.help, description=_description(step)), step)

    images = verbs.add_parser("images", help="look at an image set, or check it")
    kinds = images.add_subparsers(dest="what", required=True, metavar="show|check")
    show = kinds.add_parser("show", help="write a contact sheet of an image set")
    show.add_argument("images", type=Path, metavar="SET")
    show.add_argument("--out", type=Path, help="PNG to write (default: beside the set)")
    show.add_argument("--columns", type=int, default=8)
    show.add_argument("--count", type=int, default=64, help="number of images, drawn with a fixed seed")
    check = kinds.add_parser("check", help="list everything that is wrong with an image set; exit 1 if anything is")
    check.add_argument("images", type=Path, metavar="SET")

    describe = verbs.add_parser("describe", help="layers, output shapes and parameter counts of a generator")
    describe.add_argument("model")
    describe.add_argument(
        "--settings", type=Path, metavar="FILE", help="settings of its training (default: the paper's)"
    )
    describe.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), default=[64, 64])
    describe.add_argument("--channels", type=int, default=1)
    describe.add_argument("--mask-channels", type=int, default=1)

    judge = verbs.add_parser("judge", help="judge your own synthetic images against real ones, without a settings file")
    judge.add_argument("--real", type=Path, required=True, help="class sub-folders, a CSV, or an image set")
    judge.add_argument("--synthetic", type=Path, required=True, help="the same classes, made by any generator")
    judge.add_argument("--test", type=Path, help="real images kept for testing (default: 40 %% of --real, by patient)")
    judge.add_argument("--out", type=Path, required=True, metavar="HTML", help="the report to write")
    judge.add_argument("--folder", type=Path, help="folder of the run, which is left (default: beside the report)")
    judge.add_argument(
        "--patient-pattern", metavar="REGEX", help="its first group is the patient in a file name (class sub-folders)"
    )
    judge.add_argument("--positive", help="the class of sensitivity (default: of two the one not called healthy)")
    judge.add_argument("--size", type=int, default=64, help="pixels a side at which all is judged (default 64)")
    judge.add_argument("--cores", type=int, default=2)

    run = verbs.add_parser("run", help="Snakemake, with a line for each finished experiment and the time that is left")
    run.add_argument("arguments", nargs="*", metavar="…", help="as of snakemake: --cores all, …")

    release = verbs.add_parser("release", help="pack a synthetic set with its datasheet, or say why it is not shared")
    release.add_argument("experiment")
    release.add_argument("generator")
    release.add_argument("--out", type=Path, required=True, metavar="ZIP", help="the set to write")
    release.add_argument("--results", type=Path, default=Path("results"), help="of all experiments (default: results)")
    release.add_argument(
        "--terms", metavar="TEXT", help="under which what was made of the real images may be passed on, in your words"
    )

    schemas = verbs.add_parser("schemas", help="write the JSON schema of all settings, as the code states them")
    schemas.add_argument("--out", type=Path, required=True, metavar="FOLDER")

    doctor = verbs.add_parser("doctor", help="what this machine can run, and what is missing for what")
    doctor.add_argument("--settings", type=Path, metavar="FILE", help="of experiments: what each needs (JSON)")
    doctor.add_argument("--folder", type=Path, default=Path(), help="where data and results would be written")

    settle = verbs.add_parser(
        "settle", help="remove artefacts that were not made from the files as they are now; keep the others"
    )
    settle.add_argument("folders", type=Path, nargs="+")
    settle.add_argument(
        "--named",
        type=Path,
        metavar="FILE",
        help="JSON with `settings`, the settings files in use and their verbs (what others made is left alone), and "
        "`inputs`, what artefacts would be made from now where they were made from other files",
    )
    settle.add_argument("--check", action="store_true", help="remove nothing; exit 1 if anything is stale")
    return parser


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    if argv[:1] == ["run"] and argv[1:] not in (["-h"], ["--help"]):  # the others are Snakemake's, options too
        return argparse.Namespace(verb="run", arguments=argv[1:])
    if argv[:1] and argv[0] in STEPS:  # without the parsers of a hundred others
        parser = argparse.ArgumentParser(prog=f"synthmed {argv[0]}", description=_description(STEPS[argv[0]]))
        _step_parser(parser, STEPS[argv[0]])
        return parser.parse_args(argv[1:], argparse.Namespace(verb=argv[0]))
    return _parser().parse_args(argv)


class _LogFile(logging.FileHandler):
    """A log that may stop, on a full disk for one, and says so once: the step goes on."""

    def handleError(self, record: logging.LogRecord) -> None:
        said = explained(sys.exc_info()[1], self.baseFilename)
        print(f"synthmed: {said}; nothing more is logged here", file=sys.stderr)
        self.handle = lambda record: None
        stream, self.stream = self.stream, None
        with contextlib.suppress(OSError):  # it would write what is left
            stream.close()


def _log_to(path: Path | None, name: str) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if path is not None:
        with readable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(_LogFile(path, encoding="utf-8", errors="backslashreplace"))
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s {name}: %(message)s", datefmt="%H:%M:%S", handlers=handlers, force=True
    )
    logging.captureWarnings(True)


def _run_step(verb: str, arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    from synthmed.core import provenance
    from synthmed.core.cost import Stopwatch
    from synthmed.core.files import read_json
    from synthmed.core.settings import parse

    step = STEPS[verb]
    values = read_json(arguments.settings)
    function, config = step.load()
    whole = values if arguments.workers is None else {**values, "workers": arguments.workers}
    settings = parse(config, whole, where=str(arguments.settings))
    given = {file.name: getattr(arguments, file.name) for file in step.files}
    inputs = [arguments.settings, *_paths(given, step.inputs)]
    missing = [path for path in inputs if not path.exists()]
    if missing:
        raise InputError(f"{missing[0]}: no such file")
    loop = getattr(settings, "training", settings)
    if getattr(loop, "processes", 1) > 1:
        from synthmed.training import distributed

        if not distributed.launched():
            distributed.launch(argv, loop.processes, loop.device)
    made_from = provenance.made_from(inputs, step_code(verb, values))
    stopwatch = Stopwatch()
    function(settings, **given)
    if arguments.log is not None and arguments.log.is_file():  # no device
        stopwatch.write(arguments.log)
    provenance.record(_paths(given, step.outputs), step=verb, made_from=made_from, settings=values)


def _paths(given: dict, files: Sequence[Argument]) -> list[Path]:
    paths: list[Path] = []
    for file in files:
        value = given[file.name]
        paths += value if isinstance(value, list) else [value] if value is not None else []
    return paths


def _images(arguments: argparse.Namespace) -> int:
    if arguments.what == "show":
        from synthmed.commands.contact_sheet import contact_sheet

        out = arguments.out or arguments.images.with_suffix(".png")
        contact_sheet(arguments.images, out, columns=arguments.columns, count=arguments.count, seed=0)
        print(out)
        return 0
    from synthmed.commands.check_images import check

    problems = check(arguments.images)
    print("\n".join(problems) if problems else f"{arguments.images}: nothing is wrong with it")
    return 1 if problems else 0


def _describe(arguments: argparse.Namespace) -> int:
    from synthmed.commands.describe import describe
    from synthmed.core.files import read_json

    config = None
    if arguments.settings is not None:
        settings = read_json(arguments.settings)
        if "config" not in settings:
            raise InputError(f"{arguments.settings}: no settings of a training (they have a part `config`)")
        config = settings["config"]
    print(describe(arguments.model, config, (arguments.channels, *arguments.size), arguments.mask_channels))
    return 0


def _settle(arguments: argparse.Namespace) -> int:
    from synthmed.core.files import read_json
    from synthmed.core.provenance import settle, stop_if_stale

    missing = [folder for folder in arguments.folders if not folder.is_dir()]
    if arguments.check and missing:
        raise InputError(f"{missing[0]}: no such folder, so nothing was checked")
    named = read_json(arguments.named) if arguments.named else {"settings": None, "inputs": None}
    settled = settle(arguments.folders, remove=not arguments.check, named=named["settings"], chosen=named["inputs"])
    if settled.unnamed:
        print(f"{len(settled.unnamed)} artefacts are of nothing that is named now; they were left alone")
    if arguments.check:
        try:
            stop_if_stale(settled)
        except InputError as error:
            print(f"synthmed: {error}", file=sys.stderr)
            return 1
    for name, reason in settled.stale.items():
        print(f"removed {name}: {reason}")
    print(f"{len(settled.current)} artefacts are current, {len(settled.stale)} were stale")
    return 0


def _schemas(arguments: argparse.Namespace) -> int:
    from synthmed.commands.schemas import write_schemas

    print(write_schemas(arguments.out))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from synthmed.commands.doctor import report

    print(report(arguments.folder, arguments.settings))
    return 0


def _judge(arguments: argparse.Namespace) -> int:
    from synthmed.commands.judge import judge

    _log_to(None, "judge")
    given = {name: value for name, value in vars(arguments).items() if name != "verb"}
    folder = judge(**given)
    print(f"{arguments.out}\nTo go on: {folder} holds every result, and judge.json the settings that were added.")
    return 0


def _run_pipeline(arguments: argparse.Namespace) -> int:
    from synthmed.commands.run import run

    return run(arguments.arguments)


def _release(arguments: argparse.Namespace) -> int:
    from synthmed.commands.release import release

    _log_to(None, "release")
    release(**{name: value for name, value in vars(arguments).items() if name != "verb"})
    print(f"{arguments.out}\nRead DATASHEET.md in it before you pass it on.")
    return 0


def _in_words(error: Exception, arguments: argparse.Namespace) -> str | None:
    """What a user can do about an error that no step has foreseen; None when it is a fault of the program."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter of torch, on a GPU
        return f"not enough memory ({error}); lower the batch size or the workers, or take a larger machine"
    said = explained(error)
    if said is not None and not isinstance(error, OSError):  # such an error names no file
        given = [value if isinstance(value, list) else [value] for value in vars(arguments).values()]
        files = [printable(path) for paths in given for path in paths if isinstance(path, Path) and path.is_file()]
        said = f"{'one of ' if len(files) > 1 else ''}{', '.join(files)} holds what is {said}"
    return said


def _tell(words: str) -> None:
    words = words.encode("utf-8", "backslashreplace").decode()  # names of files may be no UTF-8
    logger.error("%s", words) if logging.getLogger().handlers else print(f"synthmed: {words}", file=sys.stderr)


def _run(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    people = {
        "images": _images,
        "describe": _describe,
        "settle": _settle,
        "doctor": _doctor,
        "schemas": _schemas,
        "judge": _judge,
        "release": _release,
        "run": _run_pipeline,
    }
    if arguments.verb in people:
        return people[arguments.verb](arguments)
    _log_to(arguments.log, arguments.verb)
    _run_step(arguments.verb, arguments, argv)
    return 0


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line. Exit status: 0 done, 1 a check failed or a fault of the program, 2 unusable input, 130
    interrupted.
    """
    # A cluster stops a job with SIGTERM: treat it as Ctrl-C, so that a training saves its state and says so. Not by
    # copying the handler of SIGINT: in a background job that is "ignore".
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    argv = sys.argv[1:] if argv is None else argv
    arguments = argparse.Namespace()
    try:
        arguments = _arguments(argv)
        sys.exit(_run(arguments, argv))
    except InputError as error:
        _tell(str(error))
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(f"synthmed: {str(stop) or 'interrupted; run the same command again'}", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # who read our output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains while it ends
        sys.exit(141)
    except Exception as error:
        words = _in_words(error, arguments)
        if words is None:
            _tell(
                f"{traceback.format_exc()}This is a fault of synthmed, not of your input: please report it, with all "
                "of this text, the command, and its settings file"
            )
            sys.exit(1)
        _tell(words)
        sys.exit(2)
