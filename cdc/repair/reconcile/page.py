"""report.html: one file that needs nothing else, in the light, in the dark and on paper."""

from __future__ import annotations

from typing import Final

from jinja2 import Environment, StrictUndefined

from cdc.repair.reconcile.differences import MEANINGS, Kind
from cdc.repair.reconcile.markdown import SHOWN
from cdc.repair.reconcile.report import Report, action, change, commands, counts_line, facts, verdict

_BAR: Final = 220
_TEMPLATE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{{ sentence }}</title>
<style>
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --back: #fff; --bar: #2563a8;
  --good: #1a7f4b; --bad: #b3261e; --wait: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa6b5; --line: #323b47; --back: #14181d;
  --bar: #6aa5e8; --good: #5cc98c; --bad: #ff8a80; --wait: #e6b450; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 72rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
.verdict { border-left: .3rem solid var(--bad); padding: .6rem 1rem; font-weight: 600; }
.clean, .fixed { border-color: var(--good); } .held, .differs { border-color: var(--wait); }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .6rem .3rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 500; white-space: nowrap; } td:first-child { white-space: nowrap; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
.soft { color: var(--soft); } rect { fill: var(--bar); } code, .id { font-family: ui-monospace, monospace;
  font-size: .9em; } .id { overflow-wrap: anywhere; }
@media print { body { max-width: none; margin: 0; font-size: 11px; } h2 { break-after: avoid; }
  tr { break-inside: avoid; } :root { --ink: #000; --soft: #444; --line: #bbb; --back: #fff; --bar: #444; } }
</style>
</head>
<body>
<h1>Reconcile</h1>
<p class="verdict {{ run.verdict }}">{{ sentence }}</p>
<p>{{ counts_line }}</p>
<table>{% for name, words in facts %}<tr><th scope="row">{{ name }}</th><td>{{ words }}</td></tr>{% endfor %}</table>
{% if next %}<h2>Next</h2>
<ul>{% for parts in next %}<li>{% for part in parts %}{% if loop.index is even %}<code>{{ part }}</code>{% else %}
{{- part -}}{% endif %}{% endfor %}</li>{% endfor %}</ul>{% endif %}
{% if run.held_back %}<h2>Not put right by itself, because</h2>
<ul>{% for words in run.held_back %}<li>{{ words }}</li>{% endfor %}</ul>{% endif %}
<h2>Feeds</h2>
<table><thead><tr><th>feed</th><th class="n">compared</th><th class="n">in the CRM</th><th>complete</th><th></th></tr>
</thead><tbody>{% for feed in feeds %}
<tr><td>{{ feed.feed }}</td><td class="n">{{ "{:,}".format(feed.compared) }}</td>
<td class="n">{{ "" if feed.crm_count is none else "{:,}".format(feed.crm_count) }}</td>
<td>{{ "yes" if feed.is_complete else "no" }}</td><td>{{ feed.note }}{% for name, n in feed.theirs|dictsort %}
<span class="soft">{{ name }} is theirs and differs in {{ "{:,}".format(n) }}</span>{% endfor %}</td></tr>{% endfor %}
</tbody></table>
<h2>Counts</h2>
<table><thead><tr><th>kind</th><th class="n">records</th><th class="n">since the last run</th><th></th><th>meaning</th>
</tr></thead><tbody>{% for kind, count, since, width, meaning in counts %}
<tr><td>{{ kind }}</td><td class="n">{{ "{:,}".format(count) }}</td><td class="n">{{ since }}</td>
<td><svg width="{{ bar }}" height="14" role="img" aria-label="{{ count }}">
<rect width="{{ width }}" height="14"/></svg></td>
<td class="soft">{{ meaning }}</td></tr>{% endfor %}
</tbody></table>
{% if fields %}<h2>Fields that differ</h2>
<table><thead><tr><th>feed</th><th>field</th><th class="n">records</th><th></th></tr></thead><tbody>
{% for feed, name, count, width in fields %}<tr><td>{{ feed }}</td><td>{{ name }}</td>
<td class="n">{{ "{:,}".format(count) }}</td><td><svg width="{{ bar }}" height="14" role="img" aria-label="{{ count }}">
<rect width="{{ width }}" height="14"/></svg></td></tr>{% endfor %}
</tbody></table>{% endif %}
{% if differences %}<h2>Differences</h2>
<table><thead><tr><th>feed</th><th>kind</th><th>record</th><th>in the CRM</th><th>fields</th><th>so</th></tr></thead>
<tbody>{% for one, so in differences %}<tr><td>{{ one.feed }}</td><td>{{ one.kind.value }}</td>
<td class="id">{{ one.record_id or "" }}</td><td class="id">{{ one.crm_ids|join(", ") }}</td>
<td>{{ one.fields|map(attribute="name")|join(", ") }}</td><td>{{ so }}</td></tr>{% endfor %}</tbody></table>
{% if more > 0 %}<p class="soft">{{ "{:,}".format(more) }} more: differences.csv has up to 10,000 of each feed.</p>
{% endif %}{% endif %}
{% if merges %}<h2>Duplicates</h2>
<table><thead><tr><th>feed</th><th>record</th><th>keep</th><th>merge in</th><th class="n">calls</th><th>values</th></tr>
</thead><tbody>{% for plan in merges %}<tr><td>{{ plan.feed }}</td><td class="id">{{ plan.record_id or "alike" }}</td>
<td><span class="id">{{ plan.master }}</span> ({{ plan.because }})</td><td class="id">{{ plan.others|join(", ") }}</td>
<td class="n">{{ plan.calls }}</td><td>the master's where it has any{% for name, holder in plan.survives.items()
if holder != plan.master %}; {{ name }} from <span class="id">{{ holder }}</span>{% endfor %}{%
if plan.is_suggestion %} – a suggestion only, they may be two people{% endif %}</td></tr>
{% endfor %}</tbody></table>{% endif %}
{% for title, lefts in lefts if lefts %}<h2>{{ title }}</h2>
<ul>{% for one in lefts %}<li>{{ one.fix.feed }} <span class="id">{{ one.fix.record_id }}</span>: {{ one.why }}</li>
{% endfor %}</ul>{% endfor %}
</body>
</html>
"""


def as_html(report: Report) -> str:
    """Write the page. It holds no values, only ids and names of fields."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    most = max([count for kind, count in report.counts.items() if kind is not Kind.SETTLING], default=0)
    often = max([count for _, _, count in report.fields], default=0)
    shown = report.differences[:SHOWN]
    return environment.from_string(_TEMPLATE).render(
        run=report.run,
        sentence=verdict(report),
        counts_line=counts_line(report),
        facts=facts(report),
        next=[words.split("`") for words in commands(report)],
        feeds=report.feeds,
        bar=_BAR,
        counts=[
            (kind.value, count, change(count, report.was(kind)), _width(count, most), MEANINGS[kind])
            for kind, count in report.counts.items()
        ],
        fields=[(feed, name, count, _width(count, often)) for feed, name, count in report.fields],
        differences=[(one, ": ".join(p for p in (action(report, one), one.why) if p)) for one in shown],
        more=report.run.differing - len(shown),
        merges=report.merges,
        lefts=[
            ("Left alone when looked at again", report.left),
            ("Sent anew, and still different", report.remaining),
        ],
    )


def _width(count: int, most: int) -> int:
    return min(_BAR, max(2, round(_BAR * count / most))) if count and most else 0
