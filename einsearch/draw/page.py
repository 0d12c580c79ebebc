"""The picture as one HTML page that needs nothing else: the drawing, and a table of facts."""

from __future__ import annotations

import re

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from einsearch.draw.diagram import Diagram, write_fraction
from einsearch.draw.picture import equation, render
from einsearch.draw.text import headline, membership_reason
from einsearch.space.classify import classify, label
from einsearch.space.operator import Operator
from einsearch.space.taxonomy import taxonomy

_TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<link rel="icon" href="data:,">
<title>{{ title }}: einsearch</title>
<style>
:root { --ink: #1b1f24; --muted: #5f6b7a; --line: #d8dce2; --accent: #0072b2; }
html { background: #fff; color: var(--ink); -webkit-text-size-adjust: 100%; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 1rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: .95rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--muted); font-weight: 400; padding-right: 1.5rem; }
td { overflow-wrap: anywhere; }
figure { margin: 1rem 0 0; overflow-x: auto; }
figure:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
figure svg { display: block; width: 100%; min-width: 40rem; height: auto; }
@media print {
  @page { margin: 12mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  figure { overflow: visible; }
  figure svg { min-width: 0; max-height: 255mm; }
}
</style>
</head>
<body>
<h1>{{ title }}</h1>
<table>
<tbody>
{%- for name, value in facts %}
<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>
{%- endfor %}
</tbody>
</table>
<figure tabindex="0" aria-label="Picture">
{{ drawing }}
</figure>
</body>
</html>
"""


def render_page(diagram: Diagram) -> str:
    """The page as text; it names no address and holds no script."""
    operator = diagram.operator
    title = headline(diagram) if operator is None else label(operator.einsum)
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(_TEMPLATE).render(
        title=title, facts=_facts(diagram), drawing=Markup(_inline(render(diagram, "svg", title=False).decode()))
    )


def _facts(diagram: Diagram) -> list[tuple[str, str]]:
    if diagram.operator is None:
        return [("family", f"{headline(diagram)}: {membership_reason(diagram)}"), ("einsum", equation(diagram))]
    operator = diagram.operator
    einsum, sizes = operator.einsum, operator.sizes
    place = taxonomy(einsum)
    shape = f"{sizes.d_in} → {sizes.d_out}"
    if operator.padded:
        shape += f", padded to {sizes.padded_in} → {sizes.padded_out}"
    letters = diagram.letters
    return [
        ("family", f"{classify(einsum).family.value}: {membership_reason(diagram)}"),
        ("parameter sharing", f"ω = {write_fraction(place.omega)}"),
        ("rank", f"ψ = {write_fraction(place.psi)}: at most {operator.rank_bound:,} at these sizes"),
        ("compute intensity", f"ν = {write_fraction(place.nu)}"),
        ("einsum", equation(diagram)),
        ("exponents", ", ".join(f"{letters[i]} = {write_fraction(value)}" for i, value in einsum.exponents)),
        ("sizes", f"{shape}: " + ", ".join(f"{letters[i]} = {n}" for i, n in sizes.of)),
        ("parameters", _against_dense(operator.parameters, operator)),
        ("MACs per input vector", _against_dense(operator.macs, operator)),
    ]


def _against_dense(count: int, operator: Operator) -> str:
    dense = operator.sizes.d_in * operator.sizes.d_out
    return f"{count:,}: {100 * count / dense:.3g} % of dense, which has {dense:,}"


def _inline(svg: str) -> str:
    """An SVG file as an element of a page: without prolog, namespaces and comments."""
    svg = re.sub(r"<!--.*?-->\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg)
    return svg.replace("<svg", '<svg role="img" aria-label="Diagram of the network, and its matrices"', 1).strip()
