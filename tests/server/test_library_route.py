"""The page of the library: what it loads is there, and it runs no script but the pack's own."""

import re
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPResponse

import pytest

from dev.server import ComfyServer
from patience import LIMIT_SECONDS


def page(server: ComfyServer, **headers: str) -> HTTPResponse:
    request = urllib.request.Request(f"{server.url}/uncertainty", headers=headers)
    answer: HTTPResponse = urllib.request.urlopen(request, timeout=LIMIT_SECONDS)
    return answer


def test_everything_that_the_page_names_is_served(server: ComfyServer) -> None:
    with page(server) as answer:
        assert answer.headers.get_content_type() == "text/html"
        text = answer.read().decode()
    assert '<html lang="en">' in text and "<title>Uncertainty: saved images</title>" in text
    addresses = re.findall(r'(?:href|src)="([^"]+)"', text)
    assert [address.rpartition("/")[2] for address in addresses if address.endswith(".js")] == ["page.js"]
    for address in addresses:
        with urllib.request.urlopen(urllib.parse.urljoin(f"{server.url}/uncertainty", address), timeout=LIMIT_SECONDS) as found:
            assert found.status == 200, address


def test_the_page_runs_only_scripts_of_the_server_and_lies_in_no_foreign_frame(server: ComfyServer) -> None:
    with page(server) as answer:
        text = answer.read().decode()
        assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert "default-src &#x27;self&#x27;" in policy and "unsafe" not in policy
    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", text) == []


def test_another_origin_is_refused(server: ComfyServer) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        page(server, Origin="http://elsewhere.example")
    assert refused.value.code == 403
