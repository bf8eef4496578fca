"""The HTML pages: one self-contained file each, made of records such as `ReportData`."""

from onetape.report.data import (
    Comparison,
    DifferenceCause,
    ExitKind,
    Headline,
    LevelSteps,
    MetricRow,
    OtherMarket,
    ReportData,
    ReportTitle,
    ReportTrade,
)
from onetape.report.render import render_report
from onetape.report.write import write_report

__all__ = [
    "Comparison",
    "DifferenceCause",
    "ExitKind",
    "Headline",
    "LevelSteps",
    "MetricRow",
    "OtherMarket",
    "ReportData",
    "ReportTitle",
    "ReportTrade",
    "render_report",
    "write_report",
]
