"""What a run tells of itself: from the lines of Snakemake's log to a line for each experiment."""

import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from synthmed.cli import main
from synthmed.commands import run as module
from synthmed.commands.run import Progress, directory, run, told, wrong
from synthmed.core.errors import InputError
from synthmed.core.lock import hold

TABLE = [
    "Job stats:",
    "job      count",
    "-----  -------",
    "train        3",
    "page         2",
    "all          1",
    "total        6",
]


def job(number, rule, experiment):
    return [f"rule {rule}:", "    input: a", f"    jobid: {number}", f"    wildcards: part=x, experiment={experiment}"]


def after(*events):
    """A progress that read (second, lines)."""
    progress = Progress(0.0)
    for second, lines in events:
        for line in lines:
            progress.read(line, float(second))
    return progress


def test_jobs_are_counted_without_the_target_itself():
    progress = after((0, TABLE))
    assert (progress.total, progress.done, progress.left(1.0)) == (5, 0, None)


def test_time_left_is_that_of_the_rules_that_are_known():
    # Two trainings of 10 s side by side: at 10 s one training and two pages (as long, for all one knows) are left.
    begun = job(1, "train", "lungs") + job(2, "train", "lungs")
    done = ["Finished jobid: 1 (Rule: train)", "Finished jobid: 2 (Rule: train)"]
    begun_and_done = after((0, TABLE + begun), (10, done))
    assert [begun_and_done.left(10.0) for _ in range(2)] == pytest.approx([15.0, 15.0])
    page = [(10, job(3, "page", "lungs")), (12, ["Finished jobid: 3 (Rule: page)"])]
    # 22 s of work in 12 s; left: a training of 10 s and a page of 2 s.
    assert after((0, TABLE + begun), (10, done), *page).left(12.0) == pytest.approx(12 / (22 / 12))


def test_a_report_is_told_when_its_page_is_there():
    clock = iter([0.0, *[1.0] * 13, *[62.0] * 4, 125.0, 130.0])
    lines = [*TABLE, "Select jobs to execute...", *job(1, "train", "lungs"), "Finished jobid: 1 (Rule: train)"]
    lines = [
        *lines,
        *job(4, "page", "lungs"),
        "Finished jobid: 4 (Rule: page)",
        "All experiments and the leaderboard: x",
    ]
    said = list(told(lines, Path("here"), lambda: next(clock, 130.0)))
    assert said[0] == "5 steps to 2 reports; details: here/logs/run.log"
    assert said[1].startswith("2:05  lungs: here/results/lungs/report.html  (2 of 5 steps done, about ")
    assert said[2] == "All experiments and the leaderboard: here/x"
    assert len(said) == 3


def test_a_word_of_a_step_is_no_event():
    progress = after((0, TABLE), (1, ["07:29 train: rule page:", "Finished jobid: 9 (Rule: other)", "train   7"]))
    assert (progress.total, progress.done) == (5, 0)


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [([], "."), (["--directory", "demo", "all"], "demo"), (["--directory=demo"], "demo"), (["-d", "x"], "x")],
)
def test_the_log_lies_where_snakemake_works(arguments, folder):
    assert directory(arguments) == Path(folder)


def test_of_a_failed_run_the_reasons_are_shown():
    lines = ["Select jobs", "    log: logs/a.log", *["quiet"] * 30, "InputError in file: params"]
    assert wrong(lines) == lines[-1:]
    assert wrong(["one", "two"]) == ["one", "two"]


def test_of_jobs_that_failed_the_end_of_their_logs_is_shown():
    def failed(rule, *said):
        return [
            f"Error in rule {rule}:",
            f"    log: {rule} (check log file)",
            f"Logfile {rule}:",
            "=" * 80,
            *said,
            "=" * 80,
        ]

    lines = [
        "    log: logs/fine.log",
        *failed("a"),
        "Finished jobid: 3",
        *failed("b", *"12345", "b: too few"),
        "Error: 1",
    ]
    assert wrong(lines) == [*failed("a")[:2], *failed("b")[:2], "3", "4", "5", "b: too few"]


@pytest.fixture
def snakemake(tmp_path, monkeypatch):
    """A stand-in for Snakemake that prints lines and ends with a status."""

    def put(lines, status):
        script = tmp_path / "snakemake.py"
        saved = f"open({str(tmp_path / 'given')!r}, 'w').write(' '.join(sys.argv[1:]))"
        script.write_text(f"import sys\n{saved}\nprint({chr(10).join(lines)!r})\nsys.exit({status})\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(module.sys, "executable", sys.executable)
        monkeypatch.setattr(module.forkserver, "started", lambda: nullcontext({"STEPS": "forked"}))
        return tmp_path / "there"

    return put


def test_an_experiment_that_fails_does_not_stop_the_others(snakemake, tmp_path):
    there = snakemake(TABLE, 0)
    run(["--cores", "1", "--directory", str(there)])
    assert (tmp_path / "given").read_text() == f"--keep-going --cores 1 --directory {there}"


def test_all_that_snakemake_says_is_kept(snakemake, capsys):
    there = snakemake([*TABLE, "Select jobs to execute..."], 0)
    assert run(["--cores", "1", "--directory", str(there)]) == 0
    assert (there / "logs" / "run.log").read_text().splitlines()[:2] == TABLE[:2]
    assert capsys.readouterr().out == f"5 steps to 2 reports; details: {there}/logs/run.log\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "'forked'"),
        (["--keep-going", "--until=page-e"], "'forked'"),
        (["--executor=slurm"], "None"),
        (["-e", "slurm"], "None"),
        (["--profile", "x"], "None"),
        (["--workflow-profile=x"], "None"),
        (["--sdm", "conda"], "None"),
        (["--software-deployment-method", "conda"], "None"),
        (["--deployment", "conda"], "None"),
        (["--use-conda"], "None"),
        (["--use-apptainer"], "None"),
    ],
)
def test_steps_are_forked_on_one_machine_and_in_this_environment_only(snakemake, arguments, said):
    there = snakemake([], 0)
    script = there.parent / "snakemake.py"
    script.write_text("import os\nprint(repr(os.environ.get('STEPS')))\n")
    assert run([*arguments, "--directory", str(there)]) == 0
    assert (there / "logs" / "run.log").read_text() == f"{said}\n"


def test_a_second_run_leaves_the_log_of_the_first_alone(snakemake):
    there = snakemake(["another"], 0)
    log = there / "logs" / "run.log"
    with hold(log.parent):
        log.write_text("of the first")
        with pytest.raises(InputError, match=r"logs: a run is going on there"):
            run(["--directory", str(there)])
    assert log.read_text() == "of the first"


def test_a_failed_run_fails_and_says_why(snakemake, capsys):
    there = snakemake(["much", "Error in rule train:", "    log: logs/train.log (check it)"], 3)
    assert run(["--directory", str(there)]) == 3
    said = capsys.readouterr().err
    assert "Error in rule train:" in said
    assert "logs/train.log" in said
    assert "much" not in said


def test_every_option_after_run_is_snakemakes(monkeypatch, capsys):
    given = []
    monkeypatch.setattr(module, "run", lambda arguments: given.append(arguments) or 4)
    with pytest.raises(SystemExit) as status:
        main(["run", "--cores", "all", "-n", "experiment_nuclei"])
    assert (status.value.code, given) == (4, [["--cores", "all", "-n", "experiment_nuclei"]])
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert "as of snakemake" in capsys.readouterr().out
