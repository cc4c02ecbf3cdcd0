"""The manifest for KubeRay in docs/scale.md: what it runs is a command that exists, on the cluster that it describes."""

import re
import shlex

import yaml

from dev.bootstrap import ROOT
from uncertainty_runs.command_line import parser

TEXT = (ROOT / "docs" / "scale.md").read_text()


def arguments(line: str) -> list[str]:
    """What a command line hands to ``uncertainty``."""
    words = shlex.split(line)
    start = words.index("python")
    assert words[start : start + 3] == ["python", "-m", "uncertainty"]
    return words[start + 3 :]


def test_the_manifest_runs_a_batch_on_its_own_cluster() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    job = yaml.safe_load(block)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    asked = parser().parse_args(arguments(job["spec"]["entrypoint"]))
    (head,) = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    assert asked.address == "auto"
    assert all(
        path.is_relative_to(head["volumeMounts"][0]["mountPath"]) for path in (asked.output, asked.workflow, asked.prompts)
    )
    (pinned,) = re.findall(r"^ray==(.+)$", (ROOT / "dev" / "requirements-evidence.txt").read_text(), re.MULTILINE)
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == pinned


def test_the_ray_job_submits_the_same_command() -> None:
    (line,) = re.findall(r"ray job submit .*?(?=\n\n)", TEXT, re.DOTALL)
    assert parser().parse_args(arguments(line.replace("\\\n", " "))).address == "auto"
