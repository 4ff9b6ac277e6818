"""How results show themselves: one line, plain text, and HTML for notebooks. Pure formatting, nothing is computed.

Every result of the package (Fit, Optimum, Crossover, Comparison, ...) offers the same five views:
`repr` one line, `.summary()` text, `.to_frame()` a DataFrame, `._repr_html_()` table and warnings, `.plot(ax=None)`.
"""

import html

NUMBER = "{:.4g}".format


def count(number, noun) -> str:
    """A number and a regular noun.

    >>> count(1, "step"), count(1234567, "row"), count(2.5, "step")
    ('1 step', '1234567 rows', '2.5 steps')
    """
    shown = f"{number:.0f}" if number == round(number) else f"{number:g}"
    return f"{shown} {noun}{'' if number == 1 else 's'}"


def text_table(frame) -> str:
    """A DataFrame as aligned plain text: four digits, '-' for what is missing."""
    return _missing_as_nan(frame).to_string(index=False, float_format=NUMBER, na_rep="-")


def html_page(headline, frame, warnings=(), notes=()) -> str:
    """Headline, table, notes and warnings as an HTML fragment; every text is escaped."""
    table = _missing_as_nan(frame).to_html(index=False, float_format=NUMBER, na_rep="-", border=0)
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    listed = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
    warned = f"<p><b>Warnings</b></p><ul>{listed}</ul>" if listed else ""
    return f"<div><p><b>{html.escape(headline)}</b></p>{table}{notes}{warned}</div>"


def _missing_as_nan(frame):
    """The frame with None as nan, which alone pandas shows as missing in a column of objects."""
    return frame.mask(frame.map(lambda value: value is None))
