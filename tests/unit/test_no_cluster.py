"""A cluster that is not there is noticed at once."""

import pytest

from dev.server import free_port
from uncertainty_runs.engines.ray_cluster import Cluster, WorkersError


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_where_nothing_listens_there_is_no_cluster(
    scheme: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"{scheme}127.0.0.1:{free_port()}"
    with pytest.raises(
        WorkersError, match=f"there is no Ray cluster at --address {address} \\(.*refused.*\\): start one with ray start"
    ):
        Cluster(address)
    assert capsys.readouterr().err == ""  # Ray was not asked, which would have waited for two minutes
