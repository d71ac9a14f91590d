import errno
import json
import math
import os
import time
from pathlib import Path

import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import (
    atomic_path,
    dump_json,
    hash_file,
    link_or_copy,
    printable,
    read_csv,
    read_json,
    readable,
    refuse_failed_disk,
    remove_left,
    user_path,
    write_csv,
    write_json,
    write_text,
)


def test_a_file_appears_whole_in_a_folder_that_is_made(tmp_path):
    write_text(tmp_path / "deep" / "a.txt", "ä\n")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == b"\xc3\xa4\n"
    assert len(list((tmp_path / "deep").iterdir())) == 1


def test_a_failure_keeps_the_old_file_and_leaves_no_temporary(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    def interrupted():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            assert temporary.suffix == ".txt"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk(small_disk):
    write_text(small_disk / "a.txt", "old")
    with pytest.raises(InputError, match=r"a\.txt: no space left"):
        write_text(small_disk / "a.txt", "x" * 200_000)
    assert (small_disk / "a.txt").read_text() == "old"
    assert len(list(small_disk.iterdir())) == 1


@pytest.mark.parametrize("name", ["a.txt", "new/a.txt"])
def test_no_permission(read_only_disk, name):
    with pytest.raises(InputError, match=r"a\.txt: no permission to write"):
        write_text(read_only_disk / name, "x")


def test_json_is_canonical_and_comes_back(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None], "a": {"ä": True}})
    assert (tmp_path / "a.json").read_text() == dump_json({"a": {"ä": True}, "b": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"a": {"ä": True}, "b": [1, 2.5, None]}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_never_reaches_a_result(tmp_path, bad):
    with pytest.raises(ValueError, match=r"value\.a\[1\]\.b is"):
        write_json(tmp_path / "a.json", {"a": [1, {"b": bad}]})
    with pytest.raises(ValueError, match=r"row 1\.x is"):
        write_csv(tmp_path / "a.csv", [{"x": 1.0}, {"x": bad}], ["x"])
    assert list(tmp_path.iterdir()) == []


def test_csv_has_exactly_the_columns(tmp_path):
    write_csv(tmp_path / "a.csv", [{"x": 1, "y": None}, {"x": "a,b", "y": 0.5}], ["y", "x"])
    assert (tmp_path / "a.csv").read_bytes() == b'y,x\n,1\n0.5,"a,b"\n'
    with pytest.raises(ValueError, match="z"):
        write_csv(tmp_path / "b.csv", [{"x": 1, "z": 2}], ["x"])


def test_json_that_is_missing_or_cut_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.json: no such file"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(json.dumps({"a": 1})[:4])
    with pytest.raises(InputError, match=r"a\.json: not valid JSON"):
        read_json(tmp_path / "a.json")


def test_hash(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_csv_rows_come_back_and_a_missing_file_is_named(tmp_path):
    write_csv(tmp_path / "t.csv", [{"a": 1, "b": None}], ["a", "b"])
    assert read_csv(tmp_path / "t.csv") == [{"a": "1", "b": ""}]
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        read_csv(tmp_path / "none.csv")


def test_what_cannot_be_read_is_one_sentence(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.csv").write_bytes(b"a\nM\xfcller\n")
    (tmp_path / "long.csv").write_text("a\n" + "x" * 200_000 + "\n")
    (tmp_path / "link").symlink_to("../.git/annex/objects/1.png")
    (tmp_path / "round").symlink_to("round")
    for name, said in {
        "folder": "a folder, where a file belongs",
        "latin.csv": "not UTF-8 text .*save it as UTF-8",
        "long.csv": r"not readable as a table \(field larger than field limit",
        "latin.csv/x": "a part of its path is a file",
        "link": r"a link that leads nowhere \(to \.\./\.git/annex/objects/1\.png\); get the file itself",
        "round": "its links lead round in a circle",
        "x" * 300: "its name is too long",
    }.items():
        with pytest.raises(InputError, match=f"{name}: {said}"):
            read_csv(tmp_path / name)
    with pytest.raises(InputError, match=r"latin\.csv: not UTF-8"):
        read_json(tmp_path / "latin.csv")


def test_what_is_in_the_way_of_an_output_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"file/a\.txt: a part of its path is a file"):
        write_text(tmp_path / "file" / "a.txt", "x")
    with pytest.raises(InputError, match=r"folder: a folder, where a file belongs"):
        write_text(tmp_path / "folder", "x")
    with pytest.raises(InputError, match="its name is too long"):
        write_text(tmp_path / ("x" * 300), "x")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_an_error_of_another_file_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), atomic_path(tmp_path / "a.txt"):
        (tmp_path / "elsewhere").read_text()


def test_a_name_that_is_no_utf8_can_be_printed(tmp_path):
    name = os.fsdecode(b"M\xfcller.png")
    assert printable(name) == "M\\udcfcller.png"
    with pytest.raises(InputError) as error, readable(tmp_path / name):
        (tmp_path / name).read_text()
    assert str(error.value).encode().endswith(b"M\\udcfcller.png: no such file")


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert user_path("~/films") == Path("/home/somebody/films")
    assert user_path("films/~x") == Path("films/~x")
    with pytest.raises(InputError, match="~nobody-of-that-name/films: there is no home folder"):
        user_path("~nobody-of-that-name/films")


def test_only_ones_own_file_gets_a_second_name(tmp_path, monkeypatch):
    """Rights and time, which a run changes, are those of all its names."""
    placed = tmp_path / "placed"
    placed.write_text("content")
    link_or_copy(placed, tmp_path / "own")
    monkeypatch.setattr(os, "geteuid", lambda: placed.stat().st_uid + 1)
    link_or_copy(placed, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "content"
    assert [(tmp_path / name).samefile(placed) for name in ("own", "copy")] == [True, False]


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    with atomic_path(tmp_path / "deep" / "a.b.zip") as temporary:
        kept = [tmp_path / "deep" / name for name in (".settings.json", "film.part", "a.7.part.zip")]
        for path in (temporary, *kept):
            path.write_text("half")
            os.utime(path, (time.time() - 7200, time.time() - 7200))
        (tmp_path / "deep" / ".a.b.8.part.zip").write_text("of a process that writes")
        remove_left([tmp_path])
        assert not temporary.exists()
        assert len(list((tmp_path / "deep").iterdir())) == 4
        temporary.write_text("whole")


def test_only_a_failed_disk_stops_what_damage_does_not():
    """What a damaged file asks for (EINVAL), and what no system says, are of the file; memory is of the machine."""
    refuse_failed_disk(OSError(errno.EINVAL, "Invalid argument"), "film.dcm")
    refuse_failed_disk(OSError("cut off"), "film.dcm")
    refuse_failed_disk(ValueError("cut off"), "film.dcm")
    with pytest.raises(MemoryError):
        refuse_failed_disk(MemoryError(), "film.dcm")
    with pytest.raises(InputError, match=r"film\.dcm: the disk or the network failed under it"):
        refuse_failed_disk(OSError(errno.EIO, "Input/output error"), "film.dcm")
    with pytest.raises(InputError, match=r"film\.dcm: cannot be read \(.*Connection timed out\)"):
        refuse_failed_disk(OSError(errno.ETIMEDOUT, "Connection timed out"), "film.dcm")
