"""A running ComfyUI over HTTP: queue a graph, wait for it, fetch and send files. The only module of this package that does."""

import copy
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

from uncertainty.storage.png_entry import read

from ..plan import Job
from ..rows import Row
from ..run_folder import image_of, keep, map_of
from ..workflow import MAP, PREFIX, SAVE, Graph, refusals

Outputs = dict[str, dict[str, list[Any]]]

CLIENT = "uncertainty-evaluation"
POLL_SECONDS = 0.2
TIMEOUT_SECONDS = 120.0


class ServerError(RuntimeError):
    """The server cannot be reached, refused a graph, or a node failed; the message says which and what to do."""


class Server:
    """One running ComfyUI, which draws job after job.

    Args:
        url: where it listens, such as ``http://127.0.0.1:8188``.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        if urllib.parse.urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError(f"server must be an address like http://127.0.0.1:8188, got {url}.")

    def draw(self, job: Job, folder: Path) -> list[Row]:
        """Draw one job: its files are whole when its rows come back.

        Raises:
            ServerError: ComfyUI refused, failed or is gone.
            ValueError: the images came without scores.
        """
        graph = copy.deepcopy(job.graph)
        for node in (SAVE, MAP):  # ComfyUI keeps its own copies, a folder for each of ours
            if node in graph:
                prefix = graph[node]["inputs"]["filename_prefix"].removeprefix(PREFIX)
                graph[node]["inputs"]["filename_prefix"] = f"{PREFIX}/{folder.parent.name}/{folder.name}{prefix}"
        began = time.monotonic()
        outputs = self.run(graph)
        seconds = time.monotonic() - began
        found = None
        if MAP in graph:
            (file,) = outputs[MAP]["files"]
            found = keep(folder, map_of(job.number), self.view(file))
        rows = []
        for place, file in enumerate(outputs[SAVE]["images"]):
            image = keep(folder, image_of(job.number, place), self.view(file))
            known = read(folder / image.name)
            if known is None:
                raise ValueError("images came without scores: ComfyUI was started with --disable-metadata; start it without.")
            record = replace(known, number=job.number, place=place, prompt=job.prompt, seed=job.seed, file=image.name)
            rows.append(Row(record, image, found, seconds))
        return rows

    def run(self, graph: Graph) -> Outputs:
        """Run a graph in API format to its end: what its output nodes reported, by node id.

        Raises:
            ServerError: validation refused it, or a node failed.
        """
        try:
            # Without a client ComfyUI does not tell again what it has kept from an earlier run.
            body = json.dumps({"prompt": graph, "client_id": CLIENT}).encode()
            answer = json.loads(self._open("/prompt", body, "application/json"))
        except urllib.error.HTTPError as error:
            raise ServerError(_refusal(error.read())) from error
        number = answer["prompt_id"]
        if answer.get("node_errors"):  # ComfyUI would run what is left of the graph
            self._open("/queue", json.dumps({"delete": [number]}).encode(), "application/json")
            raise ServerError(_refusal(json.dumps(answer).encode()))
        while True:
            history = json.loads(self.get(f"/history/{number}"))
            if number in history:
                break
            time.sleep(POLL_SECONDS)
        status = history[number].get("status") or {}
        for name, event in status.get("messages", ()):
            if name == "execution_error":
                raise ServerError(f"{event['node_type']} failed: {event['exception_message'].strip()}")
            if name == "execution_interrupted":
                raise ServerError("the run was interrupted in ComfyUI: start the same command again to go on.")
        outputs: Outputs = history[number]["outputs"]
        return outputs

    def view(self, file: dict[str, str]) -> bytes:
        """A file that an output node names by ``filename``, ``subfolder`` and ``type``."""
        query = urllib.parse.urlencode({key: file[key] for key in ("filename", "subfolder", "type")})
        try:
            return self.get(f"/view?{query}")
        except urllib.error.HTTPError as error:
            raise ServerError(
                f"ComfyUI no longer has {file['subfolder']}/{file['filename']} ({error.code}): restart it and start the same "
                "command again."
            ) from error

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture into ComfyUI's input folder, over one of the same name; returns what LoadImage calls it."""
        boundary = "uncertainty-evaluation"
        fields = {"subfolder": subfolder, "overwrite": "true"}
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode()
        body = b"".join([*parts, head, content, f"\r\n--{boundary}--\r\n".encode()])
        answer = json.loads(self._open("/upload/image", body, f"multipart/form-data; boundary={boundary}"))
        return f"{answer['subfolder']}/{answer['name']}"

    def close(self) -> None:
        """Nothing was opened for long."""

    def get(self, path: str) -> bytes:
        """Body of a GET."""
        return self._open(path)

    def _open(self, path: str, body: bytes | None = None, kind: str | None = None) -> bytes:
        headers = {"Content-Type": kind} if kind else {}
        request = urllib.request.Request(self.url + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # nosec B310
                return bytes(response.read())
        except urllib.error.HTTPError:
            raise
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            raise ServerError(
                f"no answer from ComfyUI at {self.url} ({getattr(error, 'reason', error)}): start it, or give --server; "
                "the same command then goes on where it stopped."
            ) from error


def _refusal(body: bytes) -> str:
    answer = json.loads(body)
    lines = refusals(answer.get("node_errors") or {})
    return "\n".join(
        ["ComfyUI refused the workflow:", *(lines or [f"{answer['error']['message']}: {answer['error']['details']}"])]
    )
