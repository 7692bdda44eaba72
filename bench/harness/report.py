"""The report: Markdown to read, JSON lines to work with, and the picture."""

import json
from pathlib import Path

from . import picture
from .result import Result
from .session import Session


def markdown(session: Session, facts: dict[str, str], image: str) -> str:
    """Everything that was found, the bars first."""
    parts = ["\n".join(f"- {name}: {value}" for name, value in facts.items())]
    judged = [result.judge(bar) for result in session.results for bar in result.judged()]
    if judged:
        rows = [["bar", "limit", "measured", ""], *(row for row, _ in judged)]
        parts.append(f"## Bars\n\n{_markdown(rows)}")
    parts.append(f"![medians and spread]({image})")
    parts += [_section(result) for result in session.results]
    return "\n\n".join(parts) + "\n"


def is_met(session: Session) -> bool:
    """Whether every bar that was judged is met."""
    return all(result.judge(bar)[1] for result in session.results for bar in result.judged())


def save(session: Session, folder: Path, name: str, text: str) -> Path:
    """Writes NAME.md, NAME.svg and, for every round, a line of NAME.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    path.write_text(text)
    path.with_suffix(".svg").write_text(picture.draw(session.results, session.plots))
    lines = (
        json.dumps({"title": result.scenario.title, "round": number, **report})
        for result in session.results
        for reports in result.reports.values()
        for number, report in enumerate(reports, 1)
    )
    path.with_suffix(".jsonl").write_text("".join(f"{line}\n" for line in lines))
    return path


def _section(result: Result) -> str:
    scenario = result.scenario
    notes = [
        *(f"- Left out: {name}, as {why}." for name, why in scenario.without.items()),
        *(
            f"- {entry} failed in round {number}: {' '.join(reason.split())[:500]}"
            for entry, number, reason in result.failures()
        ),
    ]
    parts = [f"## {scenario.title}", _markdown(result.table()), "\n".join(notes)]
    return "\n\n".join(part for part in parts if part)


def _markdown(rows: list[list[str]]) -> str:
    head, *body = rows
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))
