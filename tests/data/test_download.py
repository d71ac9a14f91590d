"""Downloads from a server on the loopback that misbehaves in the ways real ones do."""

import hashlib

import pytest
from local_server import CONTENT, Server

from synthmed.core.errors import InputError
from synthmed.data import download as module
from synthmed.data.download import download

SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def waits():
    return []


def test_a_whole_file_arrives_and_leaves_nothing_else(server, tmp_path, waits):
    download(server.url, tmp_path / "deep" / "set.zip", sha256=SHA256, size=len(CONTENT), sleep=waits.append)
    assert (tmp_path / "deep" / "set.zip").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["set.zip"]
    assert waits == []


def test_a_connection_cut_again_and_again_is_resumed_where_it_broke(server, tmp_path, waits):
    server.cut = 100_000  # six requests are needed, more than would be allowed without progress
    download(server.url, tmp_path / "set.zip", sha256=SHA256, size=len(CONTENT), sleep=waits.append)
    assert (tmp_path / "set.zip").read_bytes() == CONTENT
    assert server.requests == [None, *(f"bytes={n}-" for n in range(100_000, 600_000, 100_000))]
    assert waits == [1.0] * 5


def test_the_next_run_continues_what_an_interrupted_one_left(server, tmp_path, waits, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    server.cut = 300_000
    with pytest.raises(KeyboardInterrupt):
        download(server.url, tmp_path / "set.zip", sha256=SHA256, size=None, sleep=interrupt)
    assert not (tmp_path / "set.zip").exists()
    assert (tmp_path / "set.zip.part").stat().st_size == 300_000
    server.cut = 0
    download(server.url, tmp_path / "set.zip", sha256=SHA256, size=None, sleep=waits.append)
    assert (tmp_path / "set.zip").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-"]


def test_a_partial_file_that_is_whole_already_is_accepted(server, tmp_path, waits, monkeypatch):
    monkeypatch.setattr(module, "_check", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        download(server.url, tmp_path / "set.zip", sha256=SHA256, size=None, sleep=waits.append)
    monkeypatch.undo()
    download(server.url, tmp_path / "set.zip", sha256=SHA256, size=None, sleep=waits.append)
    assert (tmp_path / "set.zip").read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={len(CONTENT)}-"]


def test_a_server_without_ranges_sends_the_whole_file_again(server, tmp_path, waits):
    server.ranges, server.cut = False, 100_000

    def repaired(seconds):
        server.cut = 0

    download(server.url, tmp_path / "set.zip", sha256=SHA256, size=len(CONTENT), sleep=repaired)
    assert (tmp_path / "set.zip").read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_not_glued_to_the_old_beginning(server, tmp_path):
    server.cut = 100_000
    other = bytes(reversed(CONTENT))

    def replaced(seconds):
        server.cut, server.content, server.etag = 0, other, '"two"'

    download(server.url, tmp_path / "set.zip", sha256=None, size=None, sleep=replaced)
    assert (tmp_path / "set.zip").read_bytes() == other


def test_a_partial_file_of_another_address_is_not_continued(server, tmp_path, waits):
    (tmp_path / "set.zip.part").write_bytes(b"something else")
    download(server.url, tmp_path / "set.zip", sha256=SHA256, size=None, sleep=waits.append)
    assert server.requests == [None]


def test_a_partial_file_longer_than_the_file_is_begun_anew(server, tmp_path, waits):
    (tmp_path / "set.zip.part").write_bytes(CONTENT + b"more")
    (tmp_path / "set.zip.part.json").write_text(f'{{"url": "{server.url}", "validator": ""}}')
    download(server.url, tmp_path / "set.zip", sha256=SHA256, size=None, sleep=waits.append)
    assert (tmp_path / "set.zip").read_bytes() == CONTENT


def test_a_wrong_hash_names_file_and_both_hashes_and_keeps_the_bytes(server, tmp_path, waits):
    expected = "0" * 64
    with pytest.raises(InputError) as error:
        download(server.url, tmp_path / "set.zip", sha256=expected, size=None, sleep=waits.append)
    for word in ("set.zip", expected, SHA256, "Run again"):
        assert word in str(error.value)
    assert not (tmp_path / "set.zip").exists()
    assert (tmp_path / "set.zip.unexpected").read_bytes() == CONTENT
    download(server.url, tmp_path / "set.zip", sha256=SHA256, size=None, sleep=waits.append)  # begins anew
    assert server.requests == [None, None]


def test_a_wrong_size_is_an_error(server, tmp_path, waits):
    with pytest.raises(InputError, match=f"has {len(CONTENT)} bytes, expected 5"):
        download(server.url, tmp_path / "set.zip", sha256=SHA256, size=5, sleep=waits.append)


def test_404_is_told_at_once(server, tmp_path, waits):
    server.statuses = [404]
    with pytest.raises(InputError, match=r"404 Not Found.*place the file as"):
        download(server.url, tmp_path / "set.zip", sha256=None, size=None, sleep=waits.append)
    assert waits == []
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again_after_the_time_it_says(server, tmp_path, waits):
    server.statuses = [503, 429]
    download(server.url, tmp_path / "set.zip", sha256=SHA256, size=None, sleep=waits.append)
    assert waits == [7.0, 7.0]


def test_a_body_that_stays_truncated_is_given_up_with_what_arrived(server, tmp_path, waits):
    server.ranges, server.cut = False, 100_000
    with pytest.raises(InputError, match=r"after 6 attempts.*100000 of 512000 bytes.*place the file as"):
        download(server.url, tmp_path / "set.zip", sha256=SHA256, size=None, sleep=waits.append)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert (tmp_path / "set.zip.part").stat().st_size == 100_000


def test_no_server_is_given_up_after_growing_waits(tmp_path, waits):
    with Server() as closed:
        url = closed.url
    with pytest.raises(InputError, match=r"after 6 attempts.*refused"):
        download(url, tmp_path / "set.zip", sha256=None, size=None, sleep=waits.append)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_two_runs_do_not_write_one_file(server, tmp_path, waits):
    with module._locked(tmp_path / "set.zip.part"), pytest.raises(InputError, match="another process"):
        download(server.url, tmp_path / "set.zip", sha256=None, size=None, sleep=waits.append)


def test_only_http_is_opened(tmp_path, waits):
    (tmp_path / "secret").write_text("x")
    with pytest.raises(InputError, match="only http"):
        download((tmp_path / "secret").as_uri(), tmp_path / "a.zip", sha256=None, size=None, sleep=waits.append)


def test_a_full_disk_says_so_and_keeps_the_beginning(server, small_disk, waits):
    with pytest.raises(InputError, match=r"no space left.*continues"):
        download(server.url, small_disk / "set.zip", sha256=SHA256, size=None, sleep=waits.append)
    assert (small_disk / "set.zip.part").stat().st_size > 0
    assert not (small_disk / "set.zip").exists()


def test_a_folder_that_may_not_be_written_says_so(server, read_only_disk, waits):
    with pytest.raises(InputError, match="no permission"):
        download(server.url, read_only_disk / "set.zip", sha256=None, size=None, sleep=waits.append)
