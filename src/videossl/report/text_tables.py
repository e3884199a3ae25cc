"""Tables as Markdown and LaTeX, and the sentences that say how to read a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from videossl.report import published
from videossl.report.layout import Row
from videossl.report.noise import Rule
from videossl.report.tables import Cell, Column, Table
from videossl.report.wording import DASH, change, joined, shown

LEVEL = "≈"
PUBLISHED = (
    "{}; with the same method, backbone, pretraining data, epochs, inputs, test and splits, in per "
    "cent. Augmentation, optimizer and views may differ."
)

_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "ρ": r"$\rho$",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "↓": r"$\downarrow$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
} | {sign: f"\\{sign}" for sign in "&%$#_"}

RULES: dict[Rule, str] = {
    "examples": "Bold is better than every other row beyond noise: over the same test examples, "
    f"the mean difference exceeds 1.96 of its standard errors. {LEVEL} marks the best number and "
    "what is within noise of it, where no row is alone at the top.",
    "seeds": "Bold is better than every other row beyond noise: the difference of the means over "
    f"seeds exceeds 1.96 of its standard errors. {LEVEL} marks the best number and what is within "
    "noise of it, where no row is alone at the top.",
    "largest": "Bold is the best number, which may be so by chance: one seed, and no predictions "
    "for the same test examples of all rows, do not tell how large the noise is.",
}


# ------------------------------------------------------------------ how to read a table


def reading(table: Table) -> list[str]:
    """Sentences about a table: units, what ± and gains are, how the best is told from noise."""
    sentences = []
    if any(column.declared.share for column in table.columns):
        counts = sorted({cell.n for cell in table.cells.values()})
        some = " to ".join(dict.fromkeys((f"{counts[0]:,}", f"{counts[-1]:,}")))
        kinds = {column.declared.share for column in table.columns}
        what = "Per cent of" if kinds == {True} else "Shares are per cent; tested on"
        sentences.append(f"{what} {some} test examples.")
    if any(cell.sd is not None for cell in table.cells.values()):
        sentences.append("± is the standard deviation over seeds.")
    if several_splits(table):
        sentences.append("Of several splits a number is the mean.")
    if over := gains(table):
        sentences.append(over)
    return [*sentences, *rules(table)]


def several_splits(table: Table) -> bool:
    """Whether a test has more than one split."""
    return any(len(group.splits) > 1 for group in table.groups)


def gains(table: Table) -> str:
    """What the gains of a table are over; empty if it has none."""
    references = table.references
    if not references:
        return ""
    if len(references) == 1 and len(references[0][1]) == len(table.rows) - 1:
        return f"Gains are over {references[0][0].title}."
    who = [f"{row.title} ({row.backbone})" for row, _ in references]
    return f"Gains are over the baseline with the row's backbone: {joined(who)}."


def rules(table: Table) -> list[str]:
    """By which rule the best is told; with the columns, where they differ in that."""
    by_rule: dict[Rule, list[Column]] = {}
    for column, rule in table.rules.items():
        by_rule.setdefault(rule, []).append(column)
    if len(by_rule) == 1:
        return [RULES[rule] for rule in by_rule]
    return [
        f"{joined([_head(table, column) for column in columns])}: {RULES[rule]}"
        for rule, columns in by_rule.items()
    ]


def _head(table: Table, column: Column) -> str:
    return f"{table.group_title(column.group)} {column.title}"


class _Numbered:
    """The published lines below the rows of a table; their sources have numbers."""

    def __init__(self, lines: Mapping[str, Sequence[published.Line]]) -> None:
        self._lines = lines
        self._numbers: dict[str, int] = {}  # source -> its number, from 1 in order of appearance

    def below(self, row: Row, columns: Sequence[Column]) -> Iterator[tuple[str, list[str]]]:
        """Of each source that published the row's very setting: head and values of a line."""
        for line in self._lines.get(row.name, ()):
            number = self._numbers.setdefault(line.source, len(self._numbers) + 1)
            values = [line.values.get((one.group.key, one.metric), DASH) for one in columns]
            yield f"{row.title}, published [{number}]", values

    @property
    def notes(self) -> list[str]:
        """A sentence for each source of a line that has been asked for."""
        return [f"[{n}] {PUBLISHED.format(source)}" for source, n in self._numbers.items()]


# ------------------------------------------------------------------ Markdown


def markdown(
    tables: Sequence[Table], decimals: int, beside: Sequence[published.Beside] = ()
) -> str:
    """All tables in GitHub's Markdown: mean ± sd, the best bold, the gain in parentheses.

    Below a row stands what was published of its very setting. Then a table of all published figures
    beside ours, where there are any.
    """
    parts = [_markdown(table, decimals, beside) for table in tables]
    for table in tables:
        if found := published.lines(beside, table.title):
            rows = [published.HEADS, ("---",) * len(published.HEADS)]
            rows += [tuple(map(_literal, line)) for line in found]
            lines = [f"| {' | '.join(row)} |" for row in rows]
            parts.append(
                "\n".join([f"## Published figures on {_literal(table.title)}", "", *lines, ""])
            )
    return "\n".join(parts)


def _markdown(table: Table, decimals: int, beside: Sequence[published.Beside]) -> str:
    heads = [_head(table, column) for column in table.columns]
    numbered = _Numbered(published.same(beside, table.title))
    lines = [
        f"## {_literal(table.title)}",
        "",
        "| " + " | ".join(["Row", *map(_literal, heads)]) + " |",
        "| " + " | ".join(["---", *["---:"] * len(heads)]) + " |",
    ]
    for row in table.rows:
        cells = [_literal(row.title)]
        for column in table.columns:
            cell = table.cells.get((row.name, column))
            cells.append(DASH if cell is None else _markdown_cell(cell, column, decimals))
        lines.append("| " + " | ".join(cells) + " |")
        lines += [
            f"| {' | '.join([_literal(head), *values])} |"
            for head, values in numbered.below(row, table.columns)
        ]
    notes = [f"{_literal(note)}\n" for note in numbered.notes]
    return "\n".join([*lines, "", _literal(" ".join(reading(table))), "", *notes])


def _markdown_cell(cell: Cell, column: Column, decimals: int) -> str:
    value = with_sd(cell, column, decimals)
    if cell.mark:
        value = f"**{value}**" if cell.mark == "best" else f"{value} {LEVEL}"
    if cell.gain is None:
        return value
    return f"{value} ({change(cell.gain, column.declared, decimals)})"


def with_sd(cell: Cell, column: Column, decimals: int) -> str:
    """``71.2 ± 0.8``, or ``71.2`` with one seed."""
    value = shown(cell.value, column.declared, decimals)
    return value if cell.sd is None else f"{value} ± {shown(cell.sd, column.declared, decimals)}"


def _literal(text: str) -> str:
    for sign in "\\|_*`<":
        text = text.replace(sign, f"\\{sign}")
    return text


# ------------------------------------------------------------------ LaTeX


def tex_escape(text: str) -> str:
    """``text`` with every character that LaTeX reads as a command made literal."""
    return "".join(_TEX.get(sign, sign) for sign in text)


def latex(tables: Sequence[Table], decimals: int, beside: Sequence[published.Beside] = ()) -> str:
    """All tables for LaTeX with the package booktabs; the gain is small beside the value.

    Below a row stands what was published of its very setting, and below the table by whom.
    """
    parts = [_latex(table, decimals, beside) for table in tables]
    return "% Needs \\usepackage{booktabs}.\n" + "\n".join(parts)


def _latex(table: Table, decimals: int, beside: Sequence[published.Beside]) -> str:
    numbered = _Numbered(published.same(beside, table.title))
    spans, cmidrules, start = [], [], 2
    for group in table.groups:
        width = len(table.of(group))
        if not width:
            continue
        title = tex_escape(table.group_title(group))
        spans.append(f"\\multicolumn{{{width}}}{{c}}{{{title}}}")
        cmidrules.append(f"\\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    heads = [tex_escape(column.title) for column in table.columns]
    lines = [
        *(f"% {tex_escape(sentence)}" for sentence in (table.title, *reading(table))),
        f"\\begin{{tabular}}{{l{'r' * len(heads)}}}",
        "\\toprule",
        *([" & ".join(["", *spans]) + " \\\\", " ".join(cmidrules)] if spans else []),
        " & ".join(["Row", *heads]) + " \\\\",
        "\\midrule",
    ]
    for row in table.rows:
        cells = [tex_escape(row.title)]
        for column in table.columns:
            cell = table.cells.get((row.name, column))
            cells.append(tex_escape(DASH) if cell is None else _latex_cell(cell, column, decimals))
        lines.append(" & ".join(cells) + " \\\\")
        for head, values in numbered.below(row, table.columns):
            quoted = (f"\\textit{{{tex_escape(text)}}}" for text in (head, *values))
            lines.append(" & ".join(quoted) + " \\\\")
    notes = [f"\\par{{\\footnotesize {tex_escape(note)}\\par}}" for note in numbered.notes]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", *notes, ""])


def _latex_cell(cell: Cell, column: Column, decimals: int) -> str:
    value = tex_escape(with_sd(cell, column, decimals))
    if cell.mark:
        value = f"\\textbf{{{value}}}" if cell.mark == "best" else f"{value} $\\approx$"
    if cell.gain is None:
        return value
    return f"{value} {{\\scriptsize ({tex_escape(change(cell.gain, column.declared, decimals))})}}"
