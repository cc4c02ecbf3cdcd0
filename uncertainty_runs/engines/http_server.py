"""A running ComfyUI over HTTP: queue a graph, wait for it, fetch and send files. The only module that uses HTTP."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from uncertainty.storage.picture_entry import read

from ..drawn_files import Drawn
from ..graph import Graph, Outputs, changed, refusals
from ..lost_maps import UNKNOWN, reasons
from ..node_info import NodeInfo, no_such_node
from ..plan import Job
from ..rows import File, Row
from ..run_folder import image_of, map_of
from ..workflow import MAP, PREFIX, SAVE, several_maps

CLIENT = "uncertainty-evaluation"
POLL_SECONDS = 0.2
TIMEOUT_SECONDS = 120.0
AGAIN = "the same command then resumes where it stopped."


class ServerError(RuntimeError):
    """The server cannot be reached or rejected a graph, or a node failed; the message says which and what to do."""


class Server:
    """One running ComfyUI, which runs one job after the other.

    Args:
        url: its address, such as ``http://127.0.0.1:8188``.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        if urllib.parse.urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError(f"server must be an address like http://127.0.0.1:8188, got {url}.")

    def describe(self, class_type: str) -> NodeInfo:
        """What ComfyUI says of a node class.

        Raises:
            NodeError: there is none of that name.
            ServerError: the server does not answer.
        """
        answer = json.loads(self.get(f"/object_info/{urllib.parse.quote(class_type, safe='')}"))
        if class_type not in answer:
            raise no_such_node(class_type)
        return NodeInfo.of(class_type, answer[class_type]["input"], answer[class_type]["output"])

    def sample(self, job: Job, folder: Path) -> Callable[[], Drawn]:
        """Run one job of the batch in a folder, by whose name the server keeps its copies. The returned function fetches files.

        Raises:
            ServerError: ComfyUI rejected the graph, failed or does not answer, or the images have no map.
            RuntimeError: there are more or fewer images than planned.
        """
        began = time.monotonic()
        outputs = self.run(_own_prefixes(job.graph, folder))
        seconds = time.monotonic() - began
        files, lost = outputs.get(SAVE, {}).get("images", []), reasons(outputs)
        if not files or (lost and len(files) != job.images):
            raise ServerError(f"{job.named} has no uncertainty map, because {lost or UNKNOWN} Put that right; {AGAIN}")
        maps = outputs[MAP]["files"] if MAP in job.graph else []
        job.check(len(files))
        if len(maps) > 1:
            raise ServerError(several_maps(len(maps)))
        return partial(self._fetched, job, files, maps, seconds)

    def _fetched(self, job: Job, files: list[Any], maps: list[Any], seconds: float) -> Drawn:
        """The files of a job, and their rows.

        Raises:
            ServerError: ComfyUI no longer has a file, or does not answer.
            ValueError: the images came without scores.
        """
        contents = {image_of(job.number, place): self.view(file) for place, file in enumerate(files)}
        rows = []
        kept_map = None
        if maps:
            name = map_of(job.number)
            contents |= {name: self.view(maps[0])}
            kept_map = File.of(name, contents[name])
        for place in range(len(files)):
            image = File.of(name := image_of(job.number, place), contents[name])
            known = read(Path(name), contents[name])
            if known is None:
                raise ValueError("the images have no scores in them: start ComfyUI without --disable-metadata.")
            record = replace(known, number=job.number, place=place, prompt=job.prompt, seed=job.seed, file=name)
            rows.append(Row(record, image, kept_map, seconds))
        return Drawn(rows, contents)

    def run(self, graph: Graph) -> Outputs:
        """Run a graph in API format and wait until it has finished; returns what its nodes reported, by node id.

        Raises:
            ServerError: validation rejected it, or a node failed.
        """
        number = self._queue(graph)
        while number not in (history := json.loads(self.get(f"/history/{number}"))):
            time.sleep(POLL_SECONDS)
        status = history[number].get("status") or {}
        for name, event in status.get("messages", ()):
            if name == "execution_error":
                raise ServerError(f"{event['node_type']} failed: {event['exception_message'].strip()}")
            if name == "execution_interrupted":
                raise ServerError("the run was interrupted in ComfyUI: start the same command again to resume.")
        outputs: Outputs = history[number]["outputs"]
        return outputs

    def _queue(self, graph: Graph) -> str:
        """Queue a graph; returns its id."""
        # Without a client id ComfyUI does not report again what it has cached from an earlier run.
        body = json.dumps({"prompt": graph, "client_id": CLIENT}).encode()
        try:
            answer = json.loads(self._open("/prompt", body, "application/json"))
        except urllib.error.HTTPError as error:
            raise ServerError(_rejection(json.loads(error.read()))) from error
        number = str(answer["prompt_id"])
        if answer.get("node_errors"):  # ComfyUI would run the rest of the graph
            self._open("/queue", json.dumps({"delete": [number]}).encode(), "application/json")
            raise ServerError(_rejection(answer))
        return number

    def view(self, file: dict[str, str]) -> bytes:
        """A file that an output node names by ``filename``, ``subfolder`` and ``type``."""
        query = urllib.parse.urlencode({key: file[key] for key in ("filename", "subfolder", "type")})
        try:
            return self.get(f"/view?{query}")
        except urllib.error.HTTPError as error:
            name = f"{file['subfolder']}/{file['filename']}"
            raise ServerError(f"ComfyUI no longer has {name} ({error.code}): restart it; {AGAIN}") from error

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture into ComfyUI's input folder, over one of the same name; returns the name that LoadImage knows it by."""
        boundary = "uncertainty-evaluation"
        fields = {"subfolder": subfolder, "overwrite": "true"}
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode()
        body = b"".join([*parts, head, content, f"\r\n--{boundary}--\r\n".encode()])
        answer = json.loads(self._open("/upload/image", body, f"multipart/form-data; boundary={boundary}"))
        return f"{answer['subfolder']}/{answer['name']}"

    def close(self) -> None:
        """Nothing to delete."""

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
            reason = getattr(error, "reason", error)
            raise ServerError(f"no answer from ComfyUI at {self.url} ({reason}): start it, or give --server; {AGAIN}") from error


def _own_prefixes(graph: Graph, folder: Path) -> Graph:
    """The graph with a subfolder for each batch in ComfyUI's output folder, where it keeps copies."""
    for node in (SAVE, MAP):
        if node in graph:
            name = graph[node]["inputs"]["filename_prefix"].removeprefix(PREFIX)
            graph = changed(graph, node, filename_prefix=f"{PREFIX}/{folder.parent.name}/{folder.name}{name}")
    return graph


def _rejection(answer: dict[str, Any]) -> str:
    reasons = refusals(answer.get("node_errors") or {})
    if not reasons:
        reasons = [f"{answer['error']['message']}: {answer['error']['details']}"]
    return "\n".join(["ComfyUI rejected the workflow:", *reasons])
