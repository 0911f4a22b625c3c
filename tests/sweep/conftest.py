"""Say whether the page of a sweep was opened in a browser."""

from tests.sweep.browser import CHROMIUM


def pytest_terminal_summary(terminalreporter) -> None:
    state = "ran" if CHROMIUM else "DID NOT RUN: install chromium"
    terminalreporter.write_line(f"Tests of the sweep's page in headless Chromium: {state}")
