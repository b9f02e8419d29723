"""What the usage page can show, in words: figures, widths of a bar."""

from __future__ import annotations

METRIC = "metric"
METRIC_LABEL = "Metric"
# What a chart shows: a field of Sums, and its name.
MEASURES = {
    "revenue": "Revenue",
    "events": "Events",
    "errors": "Failed events",
    "tokens": "Tokens in and out",
    "input_tokens": "Input tokens",
    "output_tokens": "Output tokens",
    "cached_tokens": "Tokens read from cache",
}
STEPS = {"hour": "Hour", "day": "Day", "week": "Week"}
