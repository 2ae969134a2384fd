"""The published files: downloaded once, into a cache of the package's own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .files import ARCHIVE, SIZE_LIMIT, WORD_INDEX

PUBLISHED_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"  # the address Keras uses
PUBLISHED = {  # SHA-256
    ARCHIVE: "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
    WORD_INDEX: "027313fe9a320280f3bf0fac5baf58c4a683cf39a7ed9c3d3d3912bde4284cf6",
}
TIMEOUT = (3.0, 10.0)  # seconds to connect, and between two pieces of the answer
REST = 60.0  # seconds for which a host that did not answer is left alone


def own_cache() -> Path:
    """Return the package's own folder in the user's cache."""
    import pooch

    return Path(pooch.os_cache("rnncore"))


_left_alone_until: dict[str, float] = {}  # host -> time.monotonic()


def downloaded(name: str) -> Path:
    """Return the published file `name` in the own cache, fetched if it is not there whole."""
    import pooch

    url = os.environ.get("RNNCORE_IMDB_URL", PUBLISHED_URL)
    host = urlsplit(url).netloc
    if not (own_cache() / name).is_file():
        if not host:
            raise ConnectionError(f"RNNCORE_IMDB_URL is {url!r}, no address: no download")
        if time.monotonic() < _left_alone_until.get(host, 0.0):
            raise ConnectionError(f"{host} did not answer a moment ago")
    # pooch writes beside the final name, checks the SHA-256, and only then renames
    store = pooch.create(path=own_cache(), base_url=url, registry=PUBLISHED, retry_if_failed=1)
    return Path(store.fetch(name, downloader=_download))


def _download(url: str, target: str, _store: Any) -> None:
    """Fetch `url` into the file `target`, as pooch asks its downloaders to.

    An answer that breaks off is requests' error, after which pooch begins anew; no answer at all is not.
    """
    import requests
    from tqdm import tqdm

    try:
        response = requests.get(url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})
    except requests.RequestException as error:
        host = urlsplit(url).netloc
        _left_alone_until[host] = time.monotonic() + REST
        raise ConnectionError(f"no answer from {host} ({type(error).__name__})") from error
    with response, open(target, "wb") as file:
        response.raise_for_status()
        total = int(response.headers.get("Content-Length", 0)) or None
        with tqdm(total=total, unit="B", unit_scale=True, desc=url.rpartition("/")[2]) as progress:
            for piece in response.iter_content(1 << 16):
                progress.update(file.write(piece))
                if file.tell() > SIZE_LIMIT:
                    raise OSError(f"{url} is larger than {SIZE_LIMIT} bytes")
