"""How the driver hands jobs to workers that start late, die, or never start. Ray is played by a clockwork without processes."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from uncertainty_runs.engines import crew, ray_workers
from uncertainty_runs.engines.crew import GROW_SECONDS
from uncertainty_runs.engines.ray_cluster import START_SECONDS
from uncertainty_runs.engines.ray_workers import TRIES, RayEngine, WorkersError
from uncertainty_runs.plan import Job

JOBS = [Job(number, "a cat", number, {}) for number in range(7)]


class Died(Exception):
    """An actor did."""


class Lost(Exception):
    """The results of a finished task were, with their machine."""


class Task:
    """A call of an actor's method; what it gives is worked out when somebody waits for it."""

    def __init__(self, actor: "Actor", name: str, arguments: tuple[Any, ...]) -> None:
        self.actor, self.name, self.arguments = actor, name, arguments
        self.result: Any = None
        self.error: Exception | None = None
        self.done = False

    def run(self) -> None:
        try:
            self.result = self.actor.answer(self.name, *self.arguments)
        except Exception as error:
            self.error = error
        self.done = True


class Actor:
    """A worker of the clockwork, which draws a job a turn."""

    def __init__(self, ray: "Clockwork", number: int) -> None:
        self.ray, self.number, self.is_dead, self.pictures = ray, number, False, list[str]()
        self.tasks: list[Task] = []

    def __getattr__(self, name: str) -> Any:  # noqa: D105
        def remote(*arguments: Any) -> Task:
            self.tasks.append(Task(self, name, arguments))
            return self.tasks[-1]

        return SimpleNamespace(remote=remote)

    def answer(self, name: str, *arguments: Any) -> Any:
        if self.is_dead:
            raise Died
        if name == "ready":
            try:
                self.ray.starting(self.number)
            except Died:
                self.is_dead = True
                raise
            return f"machine {self.number}"
        if name == "check":
            self.ray.checked.append(self.number)
            if self.number in self.ray.lacking:
                raise ValueError("no model")
        if name == "upload":
            self.pictures.append(arguments[0])
            return arguments[0]
        if name == "draw":
            job = arguments[0]
            self.ray.drawn.append((self.number, job.number))
            if self.ray.kills(job.number, self.number):
                self.is_dead = True
                raise Died
            return self.ray.result(job.number, self.number)
        return name


class Clockwork:
    """As much of Ray as the driver calls; its time passes only where somebody waits in vain."""

    exceptions = SimpleNamespace(
        RayActorError=Died, OutOfMemoryError=MemoryError, ObjectLostError=Lost, RayTaskError=LookupError, RayError=Died
    )

    def __init__(self) -> None:
        self.actors: list[Actor] = []
        self.now = 0.0
        self.drawn: list[tuple[int, int]] = []
        self.checked: list[int] = []
        self.never_start: set[int] = set()
        self.lacking: set[int] = set()
        self.starting: Callable[[int], object] = lambda number: None
        self.kills: Callable[[int, int], bool] = lambda job, worker: False
        self.result: Callable[[int, int], Any] = lambda job, worker: [job]
        self.gpus = 0

    def remote(self, **resources: int) -> Callable[[type], Any]:
        def create(make: Any) -> Actor:
            self.actors.append(Actor(self, len(self.actors)))
            return self.actors[-1]

        return lambda actor: SimpleNamespace(remote=create)

    def wait(self, tasks: list[Task], timeout: float | None = None, num_returns: int = 1) -> tuple[list[Task], list[Task]]:
        for actor in self.actors:
            pending = [task for task in actor.tasks if not task.done]
            if pending and (actor.is_dead or actor.number not in self.never_start):
                pending[0].run()
        done = [task for task in tasks if task.done][:num_returns]
        if not done:
            assert timeout is not None or any(not actor.is_dead for actor in self.actors), "nobody would ever answer"
            self.now += timeout or 0.0
        return done, [task for task in tasks if task not in done]

    def get(self, task: Task) -> Any:
        while not task.done:
            next(each for each in task.actor.tasks if not each.done).run()
        if task.error is not None:
            raise task.error
        return task.result

    def kill(self, actor: Actor) -> None:
        actor.is_dead = True


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Clockwork:
    played = Clockwork()
    cluster = SimpleNamespace(
        ray=played,
        resources=lambda workers: (workers or played.gpus, {} if workers else {"num_gpus": 1}),
        gpus=lambda: played.gpus,
        reasons=lambda: "Ray says: reasons",
        close=lambda: None,
    )
    monkeypatch.setattr(ray_workers, "Cluster", lambda address: cluster)
    monkeypatch.setattr(crew.time, "monotonic", lambda: played.now)
    return played


def numbers(engine: RayEngine, folder: Path | None = None) -> list[int]:
    with tempfile.TemporaryDirectory() as temporary:
        return sorted(rows[0] for rows in engine.draw_all(JOBS, folder or Path(temporary)))


def test_every_job_is_drawn_once_and_workers_share(ray: Clockwork) -> None:
    assert numbers(RayEngine(object, 2)) == list(range(len(JOBS)))
    assert len(ray.drawn) == len(JOBS)
    assert {worker for worker, _ in ray.drawn} == {0, 1}


def test_the_jobs_of_a_dead_worker_are_drawn_by_others(ray: Clockwork) -> None:
    ray.kills = lambda job, worker: job == 3 and worker < 2
    assert numbers(RayEngine(object, 2)) == list(range(len(JOBS)))
    assert len(ray.actors) == 2 + len([1 for worker, job in ray.drawn if job == 3]) - 1


def test_the_last_job_too(ray: Clockwork) -> None:
    """One worker has nothing more to do when the other dies."""
    ray.kills = lambda job, worker: job == len(JOBS) - 1 and len(ray.actors) == 2
    assert numbers(RayEngine(object, 2)) == list(range(len(JOBS)))


def test_a_job_that_kills_every_worker_is_named(ray: Clockwork) -> None:
    ray.kills = lambda job, worker: job == 2
    with pytest.raises(WorkersError, match=rf"a worker died {TRIES} times in run 2 \(prompt 'a cat', seed 2\)"):
        numbers(RayEngine(object, 2))
    assert [job for _, job in ray.drawn].count(2) == TRIES


def test_a_worker_that_does_not_start_is_reported_and_the_others_continue(
    ray: Clockwork, capsys: pytest.CaptureFixture[str]
) -> None:
    def takes_time(job: int, worker: int) -> bool:
        ray.now += START_SECONDS / 3
        return False

    ray.never_start, ray.kills = {0}, takes_time
    assert numbers(RayEngine(object, 2)) == list(range(len(JOBS)))
    told = "1 of 2 workers have not started within 120 seconds. The others continue.\nRay says: reasons\n"
    assert capsys.readouterr().err == told


def test_a_worker_that_started_while_nobody_asked_is_not_late(ray: Clockwork, capsys: pytest.CaptureFixture[str]) -> None:
    engine = RayEngine(object, 2)
    ray.now = START_SECONDS + 1
    assert numbers(engine) == list(range(len(JOBS)))
    assert capsys.readouterr().err == ""


def test_no_worker_starts(ray: Clockwork) -> None:
    ray.never_start = {0, 1}
    with pytest.raises(WorkersError, match="^2 of 2 workers have not started within 120 seconds.\nRay says: reasons$"):
        RayEngine(object, 2).describe("KSampler")
    assert START_SECONDS < ray.now < START_SECONDS + 5


def test_no_other_starts_for_one_that_died(ray: Clockwork) -> None:
    ray.kills = lambda job, worker: job == 3
    ray.never_start = {1}
    with pytest.raises(WorkersError, match="1 of 1 workers have not started within 120 seconds"):
        numbers(RayEngine(object, 1))
    assert [job for _, job in ray.drawn] == [0, 1, 2, 3]


def test_a_worker_that_ends_while_it_starts_is_reported(ray: Clockwork) -> None:
    def fails(number: int) -> None:
        raise Died("no memory")

    ray.starting = fails
    with pytest.raises(WorkersError, match="^a worker ended while its ComfyUI started: .*\nRay says: reasons$"):
        RayEngine(object, 1).describe("KSampler")


def test_pictures_reach_workers_that_start_later(ray: Clockwork) -> None:
    ray.kills = lambda job, worker: job == 3 and worker < 2
    engine = RayEngine(object, 2)
    assert engine.upload("cat.png", b"", "real") == "cat.png"
    numbers(engine)
    alive = [actor for actor in ray.actors if not actor.is_dead]
    assert len(alive) == 2 and all(actor.pictures == ["cat.png"] for actor in alive)


def test_results_that_were_lost_with_their_machine_are_drawn_again(ray: Clockwork) -> None:
    def result(job: int, worker: int) -> list[int]:
        if job == 3 and worker < 2:
            raise Lost
        return [job]

    ray.result = result
    assert numbers(RayEngine(object, 2)) == list(range(len(JOBS)))
    assert [job for _, job in ray.drawn].count(3) > 1


def test_what_machines_lack_is_listed_before_anything_is_drawn(ray: Clockwork) -> None:
    ray.lacking = {0, 2}
    words = "not every machine of the cluster can run this workflow.\n  machine 0: no model\n  machine 2: no model\nPut there"
    with pytest.raises(WorkersError, match=words):
        numbers(RayEngine(object, 3, "a cluster"))
    assert sorted(ray.checked) == [0, 1, 2] and ray.drawn == []


def test_this_machine_says_what_it_lacks_in_one_line(ray: Clockwork) -> None:
    ray.lacking = {0, 1}
    with pytest.raises(WorkersError, match="^no model$"):
        numbers(RayEngine(object, 2))


def test_a_machine_that_joins_gets_work(ray: Clockwork) -> None:
    def joins(job: int, worker: int) -> bool:
        ray.gpus, ray.now = 2, ray.now + GROW_SECONDS
        return False

    ray.gpus, ray.kills = 1, joins
    assert numbers(RayEngine(object, None, "a cluster")) == list(range(len(JOBS)))
    assert {worker for worker, _ in ray.drawn} == {0, 1}


def test_a_machine_that_joins_without_what_it_needs_is_left_out(ray: Clockwork, capsys: pytest.CaptureFixture[str]) -> None:
    ray.kills = lambda job, worker: job == 3 and worker < 2
    ray.lacking = {2}
    assert numbers(RayEngine(object, 2, "a cluster")) == list(range(len(JOBS)))
    assert capsys.readouterr().err == "machine 2 is left out: no model\n"
    assert 2 not in {worker for worker, _ in ray.drawn}


def test_no_machine_is_left(ray: Clockwork) -> None:
    ray.kills = lambda job, worker: job == 3
    ray.lacking = {1}
    with pytest.raises(WorkersError, match="machine 1: no model"):
        numbers(RayEngine(object, 1, "a cluster"))
