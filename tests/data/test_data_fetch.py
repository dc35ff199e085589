"""Fetching: whole files from a server that breaks, ignores ranges, lies or is not there."""

import io
import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from doodcli.data import fetch as fetching
from doodcli.data import files
from doodcli.data.fetch import Retry, fetch, import_omniglot_folder
from doodcli.data.registry import QUICKDRAW_CATEGORIES, data_set
from doodcli.errors import InputError

ROWS = 30  # fetched of each category in these tests, of
ALL_ROWS = 90
QUICK = Retry(times=3, pause_s=0.0)


class Publisher(ThreadingHTTPServer):
    """A local QuickDraw whose manners a test chooses."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, bytes] = {}
        self.ranges = True
        self.cut_after: list[int] = []  # bytes of the next replies, one entry each
        self.busy = 0  # so many replies of 503 first
        self.asked: list[tuple[str, str | None]] = []
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        publisher, name = self.server, unquote(self.path.lstrip("/"))
        wanted = self.headers["Range"]
        publisher.asked.append((name, wanted))
        if publisher.busy:
            publisher.busy -= 1
            return self.send_error(503)
        if name not in publisher.pages:
            return self.send_error(404)
        body = publisher.pages[name]
        tag = f'"{hash(body)}"'
        fresh = self.headers["If-Range"] in (None, tag)
        if wanted and publisher.ranges and fresh:
            first, last = wanted.removeprefix("bytes=").split("-")
            start, stop = int(first), min(len(body), int(last) + 1 if last else len(body))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")
            body = body[start:stop]
        else:
            self.send_response(200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if publisher.cut_after:
            body = body[: publisher.cut_after.pop(0)]
        publisher.sent += len(body)
        self.wfile.write(body)
        return None

    def log_message(self, *args: object) -> None:
        """Says nothing."""


def npy(rows: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()


def drawings(label: int) -> np.ndarray:
    """uint8 [ALL_ROWS, 784] whose first column is the label and second the row."""
    rows = np.random.RandomState(label).randint(0, 256, (ALL_ROWS, 784)).astype(np.uint8)
    rows[:, 0], rows[:, 1] = label, np.arange(ALL_ROWS)
    return rows


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetching, "QUICKDRAW_ROWS", ROWS)
    with Publisher() as server:
        for label, category in enumerate(QUICKDRAW_CATEGORIES):
            server.pages[f"{category}.npy"] = npy(drawings(label))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(publisher: Publisher, root: Path) -> files.Arrays:
    return files.read(fetch("quickdraw", root, base_url=publisher.url, retry=QUICK))


def require_whole(arrays: files.Arrays) -> None:
    """The first rows of every category, in order, a fifth for test."""
    assert arrays["images"].shape == (10 * ROWS, 28, 28)
    expected = np.concatenate([drawings(label)[:ROWS] for label in range(10)])
    np.testing.assert_array_equal(arrays["images"].reshape(-1, 784), expected)
    assert tuple(arrays["classes"]) == QUICKDRAW_CATEGORIES
    assert np.bincount(arrays["labels"][arrays["split"] == 1]).tolist() == [ROWS // 5] * 10


def test_only_the_first_drawings_are_asked_for(publisher: Publisher, tmp_path: Path) -> None:
    require_whole(get(publisher, tmp_path))
    assert all(wanted is not None for _, wanted in publisher.asked)
    assert publisher.sent < 10 * (ROWS * 784 + 128 + fetching.NPY_HEADER_BYTES) + 1
    assert [path.name for path in tmp_path.iterdir()] == ["quickdraw.npz"]


def test_a_cut_connection_is_continued_where_it_broke(publisher: Publisher, tmp_path: Path) -> None:
    publisher.cut_after = [10_000, 5_000, 300]  # the header's reply, then twice the rows'
    require_whole(get(publisher, tmp_path))
    assert ("eye.npy", f"bytes=5000-{128 + ROWS * 784 - 1}") in publisher.asked
    assert ("eye.npy", f"bytes=5300-{128 + ROWS * 784 - 1}") in publisher.asked


def test_a_second_call_continues_what_the_first_could_not_finish(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.cut_after = [10_000, 5_000, 0, 0, 0]
    with pytest.raises(InputError, match="the connection was cut after 5,000 of 23,648 bytes"):
        get(publisher, tmp_path)
    assert not (tmp_path / "quickdraw.npz").exists()
    publisher.asked.clear()
    require_whole(get(publisher, tmp_path))
    assert publisher.asked[0] == ("eye.npy", "bytes=5000-23647")


def test_a_file_that_changed_in_between_is_not_patched_together(
    publisher: Publisher, tmp_path: Path
) -> None:
    old = npy(255 - drawings(0))
    new, publisher.pages["eye.npy"] = publisher.pages["eye.npy"], old
    publisher.cut_after = [10_000, 5_000, 0, 0, 0]
    with pytest.raises(InputError):
        get(publisher, tmp_path)
    publisher.pages["eye.npy"] = new
    require_whole(get(publisher, tmp_path))


def test_a_server_that_ignores_ranges_is_read_from_the_start(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.ranges = False
    publisher.cut_after = [10_000, 5_000]
    require_whole(get(publisher, tmp_path))


def test_a_busy_server_is_asked_again(publisher: Publisher, tmp_path: Path) -> None:
    publisher.busy = 3
    require_whole(get(publisher, tmp_path))


def test_a_missing_file_is_not_asked_for_again(publisher: Publisher, tmp_path: Path) -> None:
    publisher.pages.pop("cell phone.npy")
    with pytest.raises(InputError, match=r"cell%20phone\.npy: the server answers 404"):
        get(publisher, tmp_path)
    assert [name for name, _ in publisher.asked].count("cell phone.npy") == 1


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (b"<html>sign in</html>", "is no NumPy array"),
        (npy(np.zeros((90, 100), np.uint8)), r"uint8 \[90, 100\], not uint8 \[n, 784\]"),
        (npy(np.zeros((90, 784))), "is float64"),
        (npy(drawings(0)[:10]), "has 10 drawings, 30 are needed"),
    ],
    ids=["html", "shape", "dtype", "few"],
)
def test_a_file_of_another_kind_is_refused(
    publisher: Publisher, tmp_path: Path, page: bytes, reason: str
) -> None:
    publisher.pages["eye.npy"] = page
    with pytest.raises(InputError, match=reason):
        get(publisher, tmp_path)


def test_pickled_objects_are_refused(publisher: Publisher, tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}] * 90, dtype=object), allow_pickle=True)
    publisher.pages["eye.npy"] = file.getvalue()
    with pytest.raises(InputError, match="is object"):
        get(publisher, tmp_path)


def test_progress_ends_at_the_whole(publisher: Publisher, tmp_path: Path) -> None:
    last: dict[str, tuple[int, int | None]] = {}
    fetch(
        "quickdraw",
        tmp_path,
        lambda what, done, total: last.update({what: (done, total)}),
        base_url=publisher.url,
    )
    assert last["cell phone.npy"] == (23_648, 23_648)


def test_without_a_network_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(InputError, match="no network") as caught:
            fetch("mnist", tmp_path, base_url=url, retry=QUICK)
    message = str(caught.value)
    assert "\n" not in message
    assert "bring mnist.npz into" in message
    assert "dood data fetch mnist" in message


def test_a_download_with_another_checksum_is_refused_and_removed(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.pages["images_background.zip"] = b"not the zip"
    with pytest.raises(
        InputError, match=r"images_background\.zip: md5 .* is not the published 68d"
    ):
        fetch("omniglot", tmp_path, base_url=publisher.url, retry=QUICK)
    assert not list(tmp_path.rglob("*.zip*"))


def test_a_whole_partial_file_is_recognised(publisher: Publisher, tmp_path: Path) -> None:
    publisher.pages["images_background.zip"] = b"not the zip"
    part = tmp_path / ".download" / "omniglot" / "images_background.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"not the zip")
    with pytest.raises(InputError, match="md5"):
        fetch("omniglot", tmp_path, base_url=publisher.url, retry=QUICK)
    assert publisher.asked == [("images_background.zip", "bytes=11-")]
    assert publisher.sent == 0


def test_an_unwritable_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written.*--data-root"):
        fetch("mnist", tmp_path / "file")


def test_unknown_and_embedded_sets_are_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown"):
        fetch("mnits", tmp_path)
    with pytest.raises(InputError, match="embedded"):
        fetch("digits", tmp_path)
    assert not list(tmp_path.iterdir())


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.mark.parametrize("name", ["mnist", "kmnist", "emnist"])
def test_archives_become_upright_arrays(tmp_path: Path, name: str) -> None:
    raw = tmp_path / name.upper() / "raw"
    images = np.random.RandomState(0).randint(0, 256, (5, 28, 28)).astype(np.uint8)
    labels = np.array([3, 0, 2, 1, 9], np.uint8)
    for part, rows in (("train", slice(0, 3)), ("test", slice(3, 5))):
        prefix = f"emnist-balanced-{part}" if name == "emnist" else part.replace("test", "t10k")
        write_idx(raw / f"{prefix}-images-idx3-ubyte", images[rows])
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels[rows])
    arrays = files.validated(fetching.idx_arrays(name, tmp_path), name)
    upright = images.swapaxes(1, 2) if name == "emnist" else images
    np.testing.assert_array_equal(arrays["images"], upright)
    assert arrays["labels"].tolist() == labels.tolist()
    assert arrays["split"].tolist() == [0, 0, 0, 1, 1]
    assert len(arrays["classes"]) == data_set(name).n_classes


def test_omniglot_is_imported_from_a_folder(tmp_path: Path) -> None:
    for part in ("images_background", "images_evaluation"):
        picture = tmp_path / "pngs" / part / f"Of {part}" / "character01" / "1.png"
        picture.parent.mkdir(parents=True)
        grey = np.full((105, 105), 255, np.uint8)
        grey[50, 20:80] = 0
        Image.fromarray(grey).convert("1").save(picture)
    path = import_omniglot_folder(tmp_path / "pngs", tmp_path / "root")
    arrays = files.read(path)
    assert arrays["split"].tolist() == [0, 1]
    assert arrays["images"][0].sum() == 60 * 255
    shutil.rmtree(tmp_path / "pngs")
    with pytest.raises(InputError, match="holds no images_background"):
        import_omniglot_folder(tmp_path / "pngs", tmp_path / "root")
