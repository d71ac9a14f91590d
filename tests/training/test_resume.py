"""The resume state beside an output, and signals that wait for the step in progress."""

import signal
import threading

import pytest
import torch

from synthmed.core.errors import InputError
from synthmed.training.resume import ResumeState, catch_interruption, random_state, set_random_state


def test_a_state_comes_back_and_is_removed(tmp_path):
    state = ResumeState(tmp_path / "model.pt", {"steps": 3, "sizes": (1, 2)})
    assert state.load() is None
    (tmp_path / ".model.resume.123.part.pt").write_bytes(b"cut off")  # of a process killed while it wrote
    state.save({"weight": torch.arange(3.0), "step": 2})
    again = ResumeState(tmp_path / "model.pt", {"steps": 3, "sizes": [1, 2]}).load()
    assert again["step"] == 2
    assert torch.equal(again["weight"], torch.arange(3.0))
    assert [path.name for path in tmp_path.iterdir()] == ["model.resume.pt"]
    state.remove()
    assert not list(tmp_path.iterdir())


def test_other_settings_and_broken_files_are_refused(tmp_path):
    ResumeState(tmp_path / "model.pt", {"steps": 3}).save({})
    with pytest.raises(InputError, match=r"steps was 3, is 4.*delete it"):
        ResumeState(tmp_path / "model.pt", {"steps": 4}).load()
    torch.save({"weights": 1}, tmp_path / "model.resume.pt")
    with pytest.raises(InputError, match="no resume state"):
        ResumeState(tmp_path / "model.pt", {"steps": 3}).load()
    (tmp_path / "model.resume.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="delete it to begin anew"):
        ResumeState(tmp_path / "model.pt", {"steps": 3}).load()


def test_random_numbers_go_on_where_they_were():
    saved = random_state()
    expected = torch.rand(3)
    set_random_state(saved)
    assert torch.equal(torch.rand(3), expected)


def test_the_first_signal_marks_and_the_second_interrupts():
    before = signal.getsignal(signal.SIGTERM)
    with catch_interruption() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGTERM)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_signals_stay_as_they_are():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with catch_interruption() as interrupted:
            seen.append((interrupted(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
