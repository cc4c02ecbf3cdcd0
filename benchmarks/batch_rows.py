"""Planning, resuming and ranking of a batch by the million: seconds, and most memory beyond what libraries take.

``python -m benchmarks.batch_rows``. Each number of images in a process of its own, with files as empty as such files may be.
"""

import json
import resource
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from . import alone, results
from .batches import BATCH, PROMPTS, simulated, workflow

NAME = "batch_rows"
SIZES = (10_000, 100_000, 1_000_000)
ADDED_AT_ONCE = 400  # jobs


def rows(size: int) -> dict[str, float]:
    """Seconds and most memory of a folder of so many images, with files, as empty as such files may be."""
    from uncertainty_runs.command_line import parser
    from uncertainty_runs.plan import Plan
    from uncertainty_runs.rank import add_images, rule_of, table
    from uncertainty_runs.ranked_images import Ranking
    from uncertainty_runs.run_folder import BatchFolder, image_of

    prompts = [f"prompt {number}" for number in range(PROMPTS)]
    jobs = Plan(workflow(), prompts, 0, size // BATCH, BATCH)
    seconds: dict[str, float] = {}

    def timed(name: str, does: Any) -> Any:
        began = time.perf_counter()
        answer = does()
        seconds[name] = time.perf_counter() - began
        return answer

    with tempfile.TemporaryDirectory() as path:
        folder = BatchFolder(Path(path), jobs)
        before = memory()
        timed("plan", lambda: sum(job.seed for job in jobs))
        for number in range(len(jobs)):
            for place in range(BATCH):
                file = Path(path, image_of(number, place))
                if number % 1000 == place == 0:
                    file.parent.mkdir(parents=True)
                file.touch()

        def add() -> None:
            for first in range(0, len(jobs), ADDED_AT_ONCE):
                numbers = range(first, min(first + ADDED_AT_ONCE, len(jobs)))
                folder.rows.add([row for number in numbers for row in simulated(number)])

        timed("add", add)
        check(len(timed("resume", folder.missing)) == 0)
        adding = memory()
        asked = parser().parse_args(["rank", path, "--keep", "1"])
        with closing(Ranking(rule_of(asked), asked.quantity, across_prompts=False)) as ranking:
            timed("rank", lambda: add_images(ranking, Path(path)))
            check(timed("list", lambda: sum(line.endswith(" kept") for line in table(ranking, Path(path)))) == PROMPTS)
        size_on_disk = sum(file.stat().st_size for file in folder.rows.folder.iterdir())
    return seconds | {
        "bytes per row": size_on_disk / size,
        "MB to draw and resume": adding - before,
        "MB to rank": memory() - before,
    }


def check(is_right: bool) -> None:
    """Do not measure what is wrong."""
    if not is_right:
        raise RuntimeError("rows came out wrong: run the tests.")


def memory() -> float:
    """Most memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Command line."""
    if asked := alone.asked():
        print(json.dumps(rows(int(asked[0]))))
        return
    _, only_table = results.arguments(__doc__, ())
    if not only_table:
        began = time.perf_counter()
        measured = {str(size): alone.run("benchmarks.batch_rows", size) for size in SIZES}
        results.write(NAME, measured, time.perf_counter() - began)
    found = results.read(NAME)
    lines = [(name, *(f"{found[str(size)][name]:.2f}" for size in SIZES)) for name in found[str(SIZES[0])]]
    head = ("seconds unless stated otherwise", *(f"{size:,} images" for size in SIZES))
    results.write_table(NAME, results.markdown(head, lines))


if __name__ == "__main__":
    main()
