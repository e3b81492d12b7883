"""A loopback hub, and the client of this process pointed at it."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from codedata.hub import client
from codedata_tests.hub.server import Hub, serve


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub, the client's constants as a process with that hub's environment has them."""
    with serve() as running:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("HF_TOKEN", raising=False)
            for name, value in running.environment(tmp_path / "hf").items():
                patch.setenv(name, value)
            before = constants.__dict__.copy()
            huggingface_hub.close_session()
            importlib.reload(constants)
            client.limit_client()
            patch.setattr(client, "WAITS", (0.02,) * 6)
            yield running
        huggingface_hub.close_session()
        constants.__dict__.update(before)
