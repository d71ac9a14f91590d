"""Downloads by Kaggle's own client, and in plain words what to do when it refuses.

The client is imported inside the function, never at the top: it looks for a token when it is imported. It continues a
broken download by itself when the same command runs again: it keeps the identity of the file in a marker beside it.
"""

import contextlib
import io
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from synthmed.core.errors import InputError

logger = logging.getLogger(__name__)

_MARKER = ".kaggle-partial"
"""Ending that the client gives to the marker of an unfinished download."""


class Client(Protocol):
    """The part of kaggle.api.kaggle_api_extended.KaggleApi that is used."""

    def competition_download_files(self, competition: str, path: str, force: bool, quiet: bool) -> None: ...

    def dataset_download_files(self, dataset: str, path: str, force: bool, quiet: bool) -> None: ...


def signed_in() -> Client:
    """Kaggle's client with the token of this user.

    Raises InputError: client absent, token absent or refused, network down.
    """
    try:
        # The client prints advice for its own command line when it finds no token; ours says what to do here.
        with contextlib.redirect_stdout(io.StringIO()):
            from kaggle.api.kaggle_api_extended import KaggleApi

            client = KaggleApi()
            client.authenticate()
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != "kaggle":
            raise InputError(
                f"Kaggle's client is incomplete, it lacks the package {error.name!r}; install the project's "
                f"requirements, or `pip install {error.name}`; or download by hand and use provider: file"
            ) from error
        raise InputError(
            f"Kaggle's client is not installed ({error}); install the project's requirements, or `pip install kaggle`; "
            "or download by hand and use provider: file"
        ) from error
    except SystemExit as error:  # what the client does without a token
        raise InputError(_NO_TOKEN) from error
    except Exception as error:
        raise _explained(error, "the sign-in") from error
    return client


_WHERE = (
    "at https://www.kaggle.com/settings/api (“Generate New Token”) and put it into the environment variable "
    "KAGGLE_API_TOKEN or the file ~/.kaggle/access_token, or log in by `kaggle auth login`; or download by hand and "
    "use provider: file"
)
_NO_TOKEN = f"Kaggle's client finds no token: make one {_WHERE}"


def download_competition(competition: str, folder: Path, sign_in: Callable[[], Client] = signed_in) -> Path:
    """Download all files of a competition into `folder` as <competition>.zip and return its path.

    A complete archive that lies there is used as it is, without the network. A broken download is continued.
    Raises InputError: folder missing, client absent, token absent or refused, rules not accepted, no such competition,
    quota used up, server or network down, disk full, or an archive that is none; each says what to do.
    """
    return _download(competition, f"competitions/{competition}", "competition_download_files", folder, sign_in)


def download_dataset(dataset: str, folder: Path, sign_in: Callable[[], Client] = signed_in) -> Path:
    """Download all files of the data set <owner>/<name> into `folder` as <name>.zip; see download_competition."""
    return _download(dataset, f"datasets/{dataset}", "dataset_download_files", folder, sign_in)


def _download(name: str, page: str, call: str, folder: Path, sign_in: Callable[[], Client]) -> Path:
    """page: of the competition or data set at Kaggle; call: what the client's method is called."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder (setting options.folder); make it on a disk with room for the download"
        )
    stem = name.rpartition("/")[2]
    path = folder / f"{stem}.zip"
    marker = path.with_name(path.name + _MARKER)
    if path.exists() and not marker.exists() and _is_zip(path):
        logger.info("%s: exists already, it is used", path)
        return path
    client = sign_in()
    logger.info("%s: downloading by Kaggle's client; a broken download is continued by the same command", path)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints the page and the licence of a data set
            getattr(client, call)(name, path=str(folder), force=False, quiet=True)
    except Exception as error:
        raise _explained(error, f"the download of {name}", page, path) from error
    if not path.exists():
        found = sorted(other.name for other in folder.glob(f"{stem}.*"))
        raise InputError(
            f"{path}: Kaggle's client did not make this file (it made {found or 'nothing'}); place it by hand"
        )
    if not _is_zip(path):
        raise InputError(
            f"{path}: what Kaggle sent is no complete zip archive; delete it and run the same command again"
        )
    return path


def _is_zip(path: Path) -> bool:
    # The directory of a zip stands at its end, so this is true of whole files only.
    return zipfile.is_zipfile(path)


def _explained(error: Exception, what: str, page: str = "", path: Path | None = None) -> Exception:
    """The InputError that says what to do about an error of the client; the error itself when it is none of these."""
    import requests  # comes with the client

    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    kind = "competition" if page.startswith("competitions/") else "data set"
    kept = f" What came so far is kept at {path}: run the same command again to continue." if path else ""
    if status == 401:
        return InputError(f"Kaggle refuses the token ({error}); make a new one {_WHERE}")
    if status == 403 and not page:
        return InputError(
            f"Kaggle does not allow {what} (403): the token is not allowed to do this; make a new one {_WHERE}"
        )
    if status == 403:
        return InputError(
            f"Kaggle does not allow {what} (403): the rules are not accepted. Log in, open "
            f"https://www.kaggle.com/{page}{'/rules' if kind == 'competition' else ''}, accept them (and verify your "
            "phone number if asked), then run the same command again"
        )
    if status == 404:
        return InputError(
            f"Kaggle knows no {kind} {page.partition('/')[2]!r} (404): it was renamed or withdrawn; look for it at "
            f"https://www.kaggle.com/{page.partition('/')[0]} and place its archive by hand (provider: file)"
        )
    if status == 429:
        wait = response.headers.get("Retry-After", "")
        return InputError(
            f"Kaggle's quota of requests is used up (429); wait {f'{wait} seconds' if wait else 'some hours'} and run "
            f"the same command again.{kept}"
        )
    if status is not None:
        return InputError(f"Kaggle's server failed at {what} ({status}: {error}); try again later.{kept}")
    if isinstance(error, requests.exceptions.RequestException):
        return InputError(
            f"Kaggle cannot be reached for {what} ({type(error).__name__}: {error}); check network and proxy.{kept}"
        )
    if isinstance(error, OSError):
        return InputError(f"{path or what}: {error}; look at room and rights of that disk.{kept}")
    if isinstance(error, ValueError):  # the client's word for a file of the wrong length
        return InputError(f"{path or what}: {error}.{kept}")
    return error
