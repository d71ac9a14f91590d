"""Downloads by Kaggle's client: each refusal has its own words, and a whole archive is never fetched twice."""

import os
import subprocess
import sys
import types
import zipfile

import pytest
import requests

from synthmed.core.errors import InputError
from synthmed.data import kaggle
from synthmed.data.kaggle import download_competition

NAME = "some-competition"


def refusal(status, headers=None):
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers or {})
    return requests.exceptions.HTTPError(f"{status} from Kaggle", response=response)


class Fake:
    """A client that writes `content` as the real one does, or fails with `error` after half of it."""

    def __init__(self, content=b"", error=None, ending="zip"):
        self.content, self.error, self.ending = content, error, ending
        self.calls = []

    def competition_download_files(self, competition, path, force, quiet):
        self.calls.append((competition, path, force, quiet))
        target = os.path.join(path, f"{competition}.{self.ending}")
        if self.error is not None:
            with open(target, "wb") as file:
                file.write(self.content[: len(self.content) // 2])
            with open(target + ".kaggle-partial", "w") as file:
                file.write("{}")
            raise self.error
        with open(target, "wb") as file:
            file.write(self.content)


@pytest.fixture
def content(tmp_path):
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.csv", "x" * 1000)
    return path.read_bytes()


def test_what_the_client_brings_is_returned(tmp_path, content):
    client = Fake(content)
    path = download_competition(NAME, tmp_path, lambda: client)
    assert path == tmp_path / f"{NAME}.zip"
    assert path.read_bytes() == content
    # force=False: the client continues what is there; quiet: its bar would fill a log.
    assert client.calls == [(NAME, str(tmp_path), False, True)]


def test_a_whole_archive_is_used_without_client_or_network(tmp_path, content):
    (tmp_path / f"{NAME}.zip").write_bytes(content)

    def never():
        raise AssertionError("nobody needs a client here")

    assert download_competition(NAME, tmp_path, never) == tmp_path / f"{NAME}.zip"


def test_a_broken_download_is_continued_by_the_same_command(tmp_path, content):
    broken = Fake(content, error=requests.exceptions.ConnectionError("reset"))
    with pytest.raises(InputError, match=r"cannot be reached .*kept at .*some-competition\.zip: run the same command"):
        download_competition(NAME, tmp_path, lambda: broken)
    whole = Fake(content)
    download_competition(NAME, tmp_path, lambda: whole)
    assert len(whole.calls) == 1


def test_a_partial_file_that_looks_whole_is_not_trusted(tmp_path, content):
    (tmp_path / f"{NAME}.zip").write_bytes(content)
    (tmp_path / f"{NAME}.zip.kaggle-partial").write_text("{}")
    client = Fake(content)
    download_competition(NAME, tmp_path, lambda: client)
    assert len(client.calls) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refusal(401), r"refuses the token .*make a new one.*KAGGLE_API_TOKEN"),
        (refusal(403), r"rules are not accepted.*https://www\.kaggle\.com/competitions/some-competition/rules"),
        (refusal(404), r"knows no competition 'some-competition' \(404\).*provider: file"),
        (refusal(429, {"Retry-After": "90"}), r"quota .*\(429\); wait 90 seconds .*kept at"),
        (refusal(429), "wait some hours"),
        (refusal(503), r"server failed .*503.*try again later"),
        (requests.exceptions.ConnectTimeout("slow"), r"cannot be reached .*ConnectTimeout.*network and proxy"),
        (requests.exceptions.ChunkedEncodingError("cut"), "cannot be reached"),
        (OSError(28, "No space left on device"), "No space left on device; look at room and rights"),
        (ValueError("Downloaded file size (5) does not match expected size (9)"), "does not match expected size"),
    ],
)
def test_each_refusal_has_words_of_its_own(tmp_path, content, error, words):
    with pytest.raises(InputError, match=words):
        download_competition(NAME, tmp_path, lambda: Fake(content, error=error))


def test_a_mistake_of_ours_is_not_dressed_up(tmp_path):
    with pytest.raises(ZeroDivisionError):
        download_competition(NAME, tmp_path, lambda: Fake(b"", error=ZeroDivisionError()))


def test_what_is_no_archive_is_named(tmp_path, content):
    with pytest.raises(InputError, match="no complete zip archive; delete it"):
        download_competition(NAME, tmp_path, lambda: Fake(b"<html>sorry</html>"))
    (tmp_path / f"{NAME}.zip").unlink()
    with pytest.raises(InputError, match=r"did not make this file \(it made \['some-competition\.7z'\]\)"):
        download_competition(NAME, tmp_path, lambda: Fake(content, ending="7z"))
    with pytest.raises(InputError, match=r"no such folder \(setting options\.folder\)"):
        download_competition(NAME, tmp_path / "nowhere", lambda: Fake(content))


# ----------------------------------------------------------------------------------------------------------- sign-in
def put_client(monkeypatch, authenticate):
    api = types.ModuleType("kaggle.api.kaggle_api_extended")
    api.KaggleApi = type("KaggleApi", (), {"authenticate": authenticate})
    for name in ("kaggle", "kaggle.api"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "kaggle.api.kaggle_api_extended", api)


def test_the_client_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "kaggle.api.kaggle_api_extended", None)
    monkeypatch.setitem(sys.modules, "kaggle", None)
    with pytest.raises(InputError, match=r"client is not installed .*pip install kaggle"):
        kaggle.signed_in()


def test_the_client_lacks_a_package_that_it_does_not_declare(monkeypatch):
    """As kaggle 2.2.4 does with six."""

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "kaggle.api":
                raise ModuleNotFoundError("No module named 'six'", name="six")

    for name in [name for name in sys.modules if name.split(".")[0] == "kaggle"]:
        monkeypatch.delitem(sys.modules, name)
    package = types.ModuleType("kaggle")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "kaggle", package)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(InputError, match=r"it lacks the package 'six'.*pip install six"):
        kaggle.signed_in()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SystemExit(1), "finds no token: make one at"),
        (refusal(401), "refuses the token"),
        (
            refusal(403),
            r"does not allow the sign-in \(403\): the token is not allowed to do this; make a new one at http",
        ),
        (requests.exceptions.ConnectionError("no route"), r"cannot be reached for the sign-in"),
    ],
)
def test_the_sign_in_fails(monkeypatch, error, words):
    def authenticate(self):
        raise error

    put_client(monkeypatch, authenticate)
    with pytest.raises(InputError, match=words) as found:
        kaggle.signed_in()
    assert "rules" not in str(found.value)


def test_the_sign_in_succeeds(monkeypatch):
    put_client(monkeypatch, lambda self: None)
    assert type(kaggle.signed_in()).__name__ == "KaggleApi"


def test_the_real_client_without_a_token_and_not_before_it_is_asked(tmp_path):
    """In a process of its own with an empty home, so that no token of this machine counts."""
    code = (
        "import sys\n"
        "from synthmed.data import kaggle, sources\n"
        "sources.raw_files({'source': 'vindr_cxr'})\n"
        "assert 'kaggle' not in sys.modules\n"
        "from synthmed.core.errors import InputError\n"
        "try:\n"
        "    kaggle.signed_in()\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KAGGLE")}
    environment |= {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path, check=True
    )
    assert done.stdout.startswith("Kaggle's client finds no token: make one at https://www.kaggle.com/settings/api")
    assert len(done.stdout.splitlines()) == 1  # the client's own advice is for its command line
