import errno
import io
import os
import struct
import zipfile

import pytest

from synthmed.core.errors import InputError
from synthmed.data.archives import Archive, DamagedMember, Limits


def make(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return path


def test_members_are_listed_sorted_without_folders_and_read(tmp_path):
    path = make(tmp_path / "a.zip", [("b/2.txt", b"two"), ("b/", b""), ("a.txt", b"one")], zipfile.ZIP_DEFLATED)
    with Archive(path) as archive:
        assert archive.names == ["a.txt", "b/2.txt"]
        assert archive.read("b/2.txt") == b"two"
    assert sorted(tmp_path.iterdir()) == [path]  # nothing is unpacked


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/etc/passwd", "..\\evil.txt", "C:\\evil.txt", "C:/e"]
)
def test_names_that_point_outside_are_refused(tmp_path, name):
    make(tmp_path / "a.zip", [("good.txt", b"x"), (name, b"x")])
    with pytest.raises(InputError, match=r"a\.zip: refused.*outside"):
        Archive(tmp_path / "a.zip")


def test_a_zip_bomb_is_refused_by_its_ratio(tmp_path):
    make(tmp_path / "a.zip", [("zeros", bytes(10_000_000))], zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"zip bomb.*10000000"):
        Archive(tmp_path / "a.zip")


def test_total_and_member_limits(tmp_path):
    make(tmp_path / "a.zip", [("1", bytes(600)), ("2", bytes(600))], zipfile.ZIP_DEFLATED)
    Archive(tmp_path / "a.zip", Limits(total_bytes=1200, member_bytes=600, ratio=10)).close()
    with pytest.raises(InputError, match="zip bomb"):
        Archive(tmp_path / "a.zip", Limits(total_bytes=1199, member_bytes=600, ratio=10))
    with pytest.raises(InputError, match=r"'1' would unpack to 600"):
        Archive(tmp_path / "a.zip", Limits(total_bytes=1200, member_bytes=599, ratio=10))


def test_what_is_not_compressed_is_no_bomb_however_large(tmp_path):
    make(tmp_path / "a.zip", [("1", bytes(600)), ("2", bytes(600))])
    Archive(tmp_path / "a.zip", Limits(total_bytes=100, member_bytes=600, ratio=10)).close()


def test_a_member_that_lies_about_its_size_gives_no_more_than_it_says(tmp_path):
    path = make(tmp_path / "a.zip", [("zeros", bytes(1_000_000))], zipfile.ZIP_DEFLATED)
    content = path.read_bytes().replace(struct.pack("<L", 1_000_000), struct.pack("<L", 10))
    path.write_bytes(content)
    with Archive(path) as archive, pytest.raises(DamagedMember, match="zip"):
        archive.read("zeros")  # ten bytes come out, whose checksum is wrong


def test_an_encrypted_archive_is_refused(tmp_path):
    path = make(tmp_path / "a.zip", [("secret", b"x")])
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="encrypted"):
        Archive(path)


def test_two_members_of_one_name_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        make(tmp_path / "a.zip", [("x", b"1"), ("x", b"2")])
    with pytest.raises(InputError, match="two members"):
        Archive(tmp_path / "a.zip")


def test_missing_and_broken_archives_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.zip: no such"):
        Archive(tmp_path / "none.zip")
    (tmp_path / "page.zip").write_text("<html>not found</html>")
    with pytest.raises(InputError, match=r"page\.zip: not a readable zip"):
        Archive(tmp_path / "page.zip")


def test_a_truncated_archive_is_named(tmp_path):
    path = make(tmp_path / "a.zip", [("x", bytes(1000))])
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"a\.zip: not a readable zip"):
        Archive(path)


def test_one_damaged_member_leaves_the_others_readable(tmp_path):
    path = make(tmp_path / "a.zip", [("1", b"A" * 100), ("2", b"B" * 100)])
    path.write_bytes(path.read_bytes().replace(b"A" * 100, b"A" * 50 + b"X" + b"A" * 49))
    with Archive(path) as archive:
        with pytest.raises(DamagedMember, match="CRC"):
            archive.read("1")
        assert archive.read("2") == b"B" * 100


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_disk_that_fails_damages_no_member(tmp_path, monkeypatch, number):
    """The network disk of a cluster for one: the image would be left out for good."""

    def failed(*_):
        raise OSError(number, os.strerror(number))

    with Archive(make(tmp_path / "a.zip", [("1", b"A")])) as archive:
        monkeypatch.setattr(zipfile.ZipFile, "read", failed)
        with pytest.raises(InputError, match=r"a\.zip: the (network )?disk"):
            archive.read("1")


def test_a_member_of_which_lzma_makes_nothing_is_damaged(tmp_path):
    path = make(tmp_path / "a.zip", [("1", os.urandom(200))], zipfile.ZIP_LZMA)
    content = bytearray(path.read_bytes())
    content[40] = 0xFF  # the first of its stream, which is always 0
    path.write_bytes(content)
    with Archive(path) as archive, pytest.raises(DamagedMember):
        archive.read("1")


def test_members_can_be_read_by_many_threads(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    members = [(f"{n}", bytes([n]) * 5000) for n in range(64)]
    make(tmp_path / "a.zip", members, zipfile.ZIP_DEFLATED)
    with Archive(tmp_path / "a.zip") as archive, ThreadPoolExecutor(8) as pool:
        assert (
            list(pool.map(archive.read, [name for name, _ in members] * 5)) == [content for _, content in members] * 5
        )


def test_a_zip_inside_is_just_bytes(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("../x", "y")
    with Archive(make(tmp_path / "a.zip", [("inner.zip", inner.getvalue())])) as archive:
        assert archive.read("inner.zip") == inner.getvalue()
