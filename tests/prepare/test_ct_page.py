"""What docs/ct.md prints for a folder of one's own, run."""

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from made_up_volumes import SHAPE, affine, anatomy, nifti

from synthmed.cli import main
from synthmed.data.imageset import ImageSet

PAGE = (Path(__file__).parents[2] / "docs" / "ct.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hu, masks = anatomy()
    repeated = {name: np.kron(mask, np.ones((1, 8, 8))).astype(np.int16) for name, mask in {"hu": hu, **masks}.items()}
    folder = tmp_path / "my_ct"
    folder.mkdir()
    (folder / "p1.nii.gz").write_bytes(nifti(repeated["hu"], affine()))
    (folder / "p1_organs.nii.gz").write_bytes(nifti(10 * repeated["lung"] + 51 * repeated["heart"], affine()))
    (folder / "volumes.csv").write_text("volume,organs,mrn\np1.nii.gz,p1_organs.nii.gz,A17\n", encoding="utf-8")
    (tmp_path / "my_clinic.salt").write_text("0123456789abcdef" * 4, encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    section = PAGE.partition("## Your own volumes")[2]
    for name, text in zip(("fetch.json", "prepare.json"), re.findall(r"```json\n(.*?)```", section, re.S), strict=True):
        (tmp_path / name).write_text(json.dumps(json.loads(text)), encoding="utf-8")
    (tmp_path / "raw").mkdir()
    commands = [shlex.split(line, comments=True) for line in section.splitlines() if line.startswith("synthmed ")]
    assert [words[1] for words in commands] == ["fetch", "prepare-volumes", "images"]
    for words in commands:
        with pytest.raises(SystemExit) as ended:
            main(words[1:])
        assert not ended.value.code, words
    slices = ImageSet(tmp_path / "slices.zip")
    assert len(slices) == 3  # of SHAPE[0] those that show both organs
    assert SHAPE[0] == 6
    assert slices.pixels.shape[1:3] == (256, 256)
    assert (tmp_path / "slices.png").stat().st_size > 1000
    with open(tmp_path / "rejects.csv", newline="", encoding="utf-8") as handle:
        assert list(csv.DictReader(handle)) == []
    assert b"A17" not in (tmp_path / "slices.zip").read_bytes()
