import pytest

from tests.unit.reports.report_example import example_report


@pytest.fixture(scope="session")
def report():
    """A made-up report in which the optimised design wins."""
    return example_report()


@pytest.fixture(scope="session")
def evaluation(report):
    return report.evaluation
