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

Graph = dict[str, dict[str, Any]]
Outputs = dict[str, dict[str, list[Any]]]
Progress = Callable[[str, int, int], None]


class PromptRejected(Exception):
    """The server's validation refused the graph; ``answer`` is what it said."""

    def __init__(self, answer: dict[str, Any]) -> None:
        """One line an error."""
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
    """Body of a GET."""
    with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(query)}", timeout=60) as response:
        return bytes(response.read())


def view(url: str, file: dict[str, str]) -> bytes:
    """A file that some node's output names, by its ``filename``, ``subfolder`` and ``type``."""
    return get(url, "/view", **file)


def make(class_type: str, **inputs: Any) -> dict[str, Any]:
    """A node of a graph."""
    return {"class_type": class_type, "inputs": inputs}


def node_with(graph: Graph, class_type: str, **inputs: Any) -> str:
    """Id of the first node of a class that has these input values.

    Raises:
        LookupError: there is none.
    """
    for number, node in graph.items():
        if node["class_type"] == class_type and inputs.items() <= _plain(node["inputs"]).items():
            return number
    raise LookupError(f"the graph has no {class_type} with {inputs}")


def run(url: str, graph: Graph, progress: Progress | None = None) -> Outputs:
    """Run a graph in API format to its end and return what its output nodes reported, by node id.

    ``progress`` is called with a node id, steps done and steps in all.

    Raises:
        PromptRejected: validation refused it, or part of it.
        PromptFailed: a node failed.
    """
    return asyncio.run(_run(url, graph, progress or (lambda node, value, maximum: None)))


async def _run(url: str, graph: Graph, progress: Progress) -> Outputs:
    client = uuid.uuid4().hex
    async with (
        aiohttp.ClientSession(base_url=url) as session,
        session.ws_connect("/ws", params={"clientId": client}, max_msg_size=0) as socket,  # listening before it is queued
    ):
        async with session.post("/prompt", json={"prompt": graph, "client_id": client}) as response:
            answer = await response.json()
            if response.status == 400:
                raise PromptRejected(answer)
            response.raise_for_status()
        prompt_id = answer["prompt_id"]
        if answer["node_errors"]:  # ComfyUI would run what is left of the graph
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
