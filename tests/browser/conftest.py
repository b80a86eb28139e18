"""Browser tests drive the host's own chromium; nothing is downloaded."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: opens the report in chromium")
