"""Push-T's demonstrations: found in a folder, or downloaded from a server on this machine."""

import io
import shutil
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from test_zarr import write

from rl_il.datasets import load_trajectories, pusht
from rl_il.datasets.pusht import STORE, find_demonstrations
from rl_il.errors import InputError

STATES = np.arange(60, dtype=np.float32).reshape(12, 5)
TREE = {
    "data": {
        "state": STATES,
        "action": STATES[:, :2] + 100,
        "img": np.zeros((12, 4, 4, 3), np.float32),
        "keypoint": np.ones((12, 9, 2), np.float32),
        "n_contacts": np.ones((12, 1), np.float32),
    },
    "meta": {"episode_ends": np.array([4, 12])},
}


def zip_of(folder) -> bytes:
    """Return the bytes of a zip as the server has it: with the folder `pusht`, and entries of folders."""
    write(folder / "made" / "pusht" / STORE, TREE)
    return open(shutil.make_archive(str(folder / "made"), "zip", folder / "made", "pusht"), "rb").read()


@pytest.fixture
def serve(monkeypatch):
    """Return a function that starts a server for this content; `size` is what it says of the length."""
    servers = []

    def start(content: bytes, size: int | None = None, status: int = 200) -> list[str]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content) if size is None else size))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        monkeypatch.setattr(pusht, "URL", f"http://127.0.0.1:{servers[-1].server_port}/pusht.zip")
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def assert_demonstrations(path):
    trajectories = load_trajectories(path)
    assert [len(t) for t in trajectories] == [4, 8]
    assert trajectories[1].obs[:8].tolist() == STATES[4:].tolist()
    assert trajectories[1].acs.tolist() == (STATES[4:, :2] + 100).tolist()


@pytest.mark.parametrize("place", [".", STORE, f"pusht/{STORE}"])
def test_an_unpacked_store_is_found(tmp_path, serve, place):
    asked = serve(b"")
    path = write(tmp_path / "data" / place, TREE)
    assert find_demonstrations(tmp_path / "data") == path
    assert_demonstrations(path)
    assert asked == []


def test_a_file_is_taken_as_it_is(tmp_path):
    (tmp_path / "mine.npz").write_bytes(b"")
    assert find_demonstrations(tmp_path / "mine.npz") == tmp_path / "mine.npz"


def test_the_zip_is_downloaded_once_and_read_as_it_is(tmp_path, serve):
    content = zip_of(tmp_path)
    asked = serve(content)
    for _ in range(2):
        path = find_demonstrations(tmp_path / "new" / "data")
    assert asked == ["/pusht.zip"] and path.read_bytes() == content
    assert [*(tmp_path / "new").rglob("*")] == [path.parent, path]  # nothing is unpacked, and nothing left
    assert_demonstrations(path)


def test_a_zip_with_names_outside_of_its_folder_writes_nothing_there(tmp_path, serve):
    buffer = io.BytesIO(zip_of(tmp_path))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("../../outside.txt", "x")
    serve(buffer.getvalue())
    before = {*tmp_path.rglob("*")}
    assert_demonstrations(find_demonstrations(tmp_path / "data"))
    assert {*tmp_path.rglob("*")} - before == {tmp_path / "data", tmp_path / "data" / "pusht.zip"}


def test_a_download_that_fails_says_what_to_put_where_and_leaves_nothing(tmp_path, serve):
    whole = zip_of(tmp_path)
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(byte ^ 255 for byte in whole[middle : middle + 64]) + whole[middle + 64 :]
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    faults = {
        "404": (b"", None, 404),
        "connection ended": (whole[:middle], len(whole)),
        "not a zip": (b"<html>sign in first</html>",),
        "damaged": (other.getvalue(),),
    }
    for word, answer in faults.items():
        serve(*answer)
        assert_refused(tmp_path / "data", word)
    serve(flipped)
    assert_refused(tmp_path / "data", "what came")


def test_without_a_server_the_sentence_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(pusht, "URL", "http://127.0.0.1:9/pusht.zip")  # the port `discard`, where nothing listens
    assert_refused(tmp_path / "data", "refused")


def assert_refused(folder, word):
    with pytest.raises(InputError) as error:
        find_demonstrations(folder)
    message = str(error.value)
    assert all(part in message for part in (pusht.URL, word, str(folder / "pusht.zip"))), message
    assert message.isprintable() and not folder.exists()


def test_a_zip_that_was_cut_off_before_is_named(tmp_path, serve):
    asked = serve(b"")
    (tmp_path / "pusht.zip").write_bytes(zip_of(tmp_path)[:500])
    with pytest.raises(InputError, match=r"pusht\.zip.*remove it"):
        find_demonstrations(tmp_path)
    assert asked == []


def test_without_zarr_or_a_writable_folder_nothing_is_downloaded(tmp_path, serve, monkeypatch):
    asked = serve(b"")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file.* is not writable"):
        find_demonstrations(tmp_path / "file" / "data")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(InputError, match=r"zarr is needed.*\[zarr\]"):
        find_demonstrations(tmp_path / "data")
    assert asked == []
