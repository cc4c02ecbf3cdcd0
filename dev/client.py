"""Queue a graph on a ComfyUI server and follow it, over HTTP and WebSocket."""

import asyncio
import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import aiohttp

from .server import SILENCE_SECONDS

Graph = dict[str, dict[str, Any]]
Outputs = dict[str, dict[str, list[Any]]]
Progress = Callable[[str, int, int], None]


class PromptRejected(Exception):
    """The server's validation refused the graph; ``answer`` is its reply."""

    def __init__(self, answer: dict[str, Any]) -> None:
        """The message has one line for each error."""
        self.answer = answer
        lines = [
            f"{node['class_type']} ({number}): {error['message']}: {error['details']}"
            for number, node in answer.get("node_errors", {}).items()
            for error in node["errors"]
        ]
        super().__init__("\n".join(lines) or f"{answer['error']['message']}: {answer['error']['details']}")


class PromptFailed(Exception):
    """A node failed, or the run was interrupted."""


def get(url: str, path: str, **query: str) -> bytes:
    """The body of the answer to a GET request."""
    with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(query)}", timeout=SILENCE_SECONDS) as response:
        return bytes(response.read())


def view(url: str, file: dict[str, str]) -> bytes:
    """Fetch a file that a node's output names by ``filename``, ``subfolder`` and ``type``."""
    return get(url, "/view", **file)


def make(class_type: str, **inputs: Any) -> dict[str, Any]:
    """Make a node of a graph."""
    return {"class_type": class_type, "inputs": inputs}


def node_with(graph: Graph, class_type: str, **inputs: Any) -> str:
    """Id of the first node of a class with these input values.

    Raises:
        LookupError: there is no such node.
    """
    for number, node in graph.items():
        if node["class_type"] == class_type and inputs.items() <= _plain(node["inputs"]).items():
            return number
    raise LookupError(f"the graph has no {class_type} with {inputs}")


def run(url: str, graph: Graph, progress: Progress | None = None) -> Outputs:
    """Run a graph in API format and return what its output nodes reported, by node id.

    ``progress`` is called with a node id, the number of steps done and the total.

    Raises:
        PromptRejected: validation refused the graph, or part of it.
        PromptFailed: a node failed, or the server hangs.
    """
    try:
        return asyncio.run(_run(url, graph, progress or (lambda node, value, maximum: None)))
    except TimeoutError as error:
        raise PromptFailed(f"the server sent nothing for {SILENCE_SECONDS} s") from error


async def _run(url: str, graph: Graph, progress: Progress) -> Outputs:
    client = uuid.uuid4().hex
    silence = aiohttp.ClientWSTimeout(ws_receive=SILENCE_SECONDS)
    async with (
        aiohttp.ClientSession(base_url=url, timeout=aiohttp.ClientTimeout(SILENCE_SECONDS)) as session,
        # Connected before the graph is queued, so that no message is missed.
        session.ws_connect("/ws", params={"clientId": client}, max_msg_size=0, timeout=silence) as socket,
    ):
        async with session.post("/prompt", json={"prompt": graph, "client_id": client}) as response:
            answer = await response.json()
            if response.status == 400:
                raise PromptRejected(answer)
            response.raise_for_status()
        prompt_id = answer["prompt_id"]
        if answer["node_errors"]:  # ComfyUI would run the rest of the graph
            await session.post("/queue", json={"delete": [prompt_id]})
            await session.post("/interrupt", json={"prompt_id": prompt_id})
            raise PromptRejected(answer)
        async for message in socket:
            if message.type != aiohttp.WSMsgType.TEXT:
                continue  # binary: step previews
            event = json.loads(message.data)
            data = event["data"]
            if data.get("prompt_id") != prompt_id:
                continue
            match event["type"]:
                case "progress":
                    progress(data["node"], data["value"], data["max"])
                case "execution_error":
                    raise PromptFailed(f"{data['node_type']} failed: {data['exception_message'].strip()}")
                case "execution_interrupted":
                    raise PromptFailed("the run was interrupted")
                case "execution_success":
                    break
        else:
            raise PromptFailed("the server closed the connection")
        # The history entry is written just after the last message.
        while True:
            async with session.get(f"/history/{prompt_id}") as response:
                history = await response.json()
            if prompt_id in history:
                outputs: Outputs = history[prompt_id]["outputs"]
                return outputs
            await asyncio.sleep(0.05)


def _plain(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if not isinstance(value, list)}
