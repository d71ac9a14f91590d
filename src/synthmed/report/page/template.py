"""The HTML of the report page. Kept as Python text so that the page's record names it among the code it was made by."""

STYLE = """
:root {
  --ink:#1f2328; --muted:#57606a; --line:#d8dee4; --soft:#f6f8fa; --helps:#0072B2; --harms:#b84a00; --none:#57606a;
}
* { box-sizing:border-box; }
body { margin:0; color:var(--ink); background:#fff; font:17px/1.6 Georgia,"Times New Roman",serif; }
main { max-width:52rem; margin:0 auto; padding:3rem 1.25rem 5rem; }
h1,h2,h3,nav,table,figcaption,.caption,.answer,.meta,.tag,summary,.note {
  font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
}
h1 { font-size:2.05rem; line-height:1.2; margin:0 0 .4rem; letter-spacing:-.01em; }
h2 { font-size:1.35rem; margin:3.2rem 0 .7rem; padding-top:1rem; border-top:1px solid var(--line); }
h3 { font-size:1.05rem; margin:1.8rem 0 .4rem; }
p { margin:.7rem 0; }
.meta { color:var(--muted); font-size:.88rem; margin:0 0 1.6rem; }
.answer { background:var(--soft); border-left:5px solid var(--helps); padding:1rem 1.25rem; margin:1.2rem 0; }
.answer p:first-child { font-size:1.14rem; font-weight:600; margin-top:0; } .answer p:last-child { margin-bottom:0; }
.warning { border-left:5px solid var(--harms); background:#fff8f3; padding:.8rem 1.25rem; }
nav { font-size:.9rem; } nav a { margin-right:1rem; white-space:nowrap; }
a { color:#0a58a6; }
figure { margin:1.8rem 0; }
figure img { display:block; width:auto; max-width:100%; height:auto; margin:0 auto; border:0; }
figcaption, .caption { font-size:.88rem; line-height:1.45; color:var(--muted); text-align:left; }
figcaption { margin-top:.6rem; } .caption { margin:0 0 .5rem; } figcaption b, .caption b { color:var(--ink); }
.table { margin:1.8rem 0; width:min(76rem, 100vw - 3rem); position:relative; left:50%; transform:translateX(-50%); }
.table .caption, .table .note { max-width:49.5rem; margin-left:auto; margin-right:auto; }
.scroll { overflow-x:auto; width:fit-content; max-width:100%; min-width:min(49.5rem, 100%); margin:0 auto; }
.scroll:focus { outline:2px solid #0a58a6; }
table { border-collapse:collapse; font-size:.82rem; line-height:1.35; font-variant-numeric:tabular-nums; width:100%; }
th { text-align:left; vertical-align:bottom; border-bottom:2px solid var(--ink); padding:.3rem .5rem; font-weight:600; }
td { border-bottom:1px solid var(--line); padding:.3rem .5rem; vertical-align:top; }
th.n, td.n { text-align:right; } td.n { white-space:nowrap; } td.i { color:var(--muted); }
td.bare { border:0; } th.group { border-bottom:0; text-align:center; min-width:7.5em; }
th.rowgroup { border-bottom:1px solid var(--line); padding-top:.9rem; color:var(--muted); }
th.ref, td.ref { color:var(--muted); background:var(--soft); font-style:italic; font-weight:400; }
td .ci { display:block; color:var(--muted); font-size:.92em; } td.empty { color:#8b949e; }
.tag { font-weight:600; display:inline-block; min-width:7.5em; } .tag::before { margin-right:.35em; font-size:.8em; }
.tag.helps { color:var(--helps); } .tag.helps::before { content:"\\25B2"; }
.tag.harms { color:var(--harms); } .tag.harms::before { content:"\\25BC"; }
.tag.none { color:var(--none); } .tag.none::before { content:"\\25CF"; }
details { margin:1rem 0; } summary { cursor:pointer; font-size:.92rem; font-weight:600; }
pre { background:var(--soft); padding:.7rem 1rem; overflow-x:auto; font-size:.74rem; line-height:1.4;
  white-space:pre-wrap;  overflow-wrap:anywhere; }
code { font-size:.85em; overflow-wrap:anywhere; } .note { font-size:.85rem; color:var(--muted); }
@media print {
  body { font-size:10.5pt; } main { max-width:none; padding:0; } nav, .skip { display:none; }
  figure, tr, .answer { break-inside:avoid; } h2, h3, .caption { break-after:avoid; }
  .scroll { overflow:visible; min-width:0; }
  .table { width:auto; left:0; transform:none; } .table .caption, .table .note { max-width:none; }
  figure img { max-height:125mm; }
  table { font-size:7.4pt; } a { color:inherit; text-decoration:none; } @page { size:A4 landscape; margin:14mm; }
}
.skip { position:absolute; left:-999px; } .skip:focus { left:1rem; top:1rem; background:#fff; padding:.4rem .8rem; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}: does adding synthetic images help?</title>
<style>{{ style }}</style>
</head>
{%- macro cell(c) -%}
<td class="{{ c.kind }}">
{%- if c.tag %}<span class="tag {{ c.tag }}">{{ c.text }}</span>{% else %}{{ c.text }}{% endif %}
{%- for line in c.below %}<span class="ci">{{ line }}</span>{% endfor %}</td>
{%- endmacro %}
{%- macro table(t) -%}
<div class="table" id="{{ t.id }}">
<p class="caption" id="{{ t.id }}-caption"><b>Table {{ t.number }}.</b> {{ t.caption }}</p>
<div class="scroll" tabindex="0" role="region" aria-labelledby="{{ t.id }}-caption"><table>
<thead>
{% if t.references %}
<tr><td colspan="{{ t.headers | length - t.references }}" class="bare"></td>
<th colspan="{{ t.references }}" scope="colgroup" class="ref group">{{ t.reference_header }}</th></tr>
{% endif %}
<tr>{% for h in t.headers %}<th scope="col" class="{{ h.kind }}">{{ h.text }}</th>{% endfor %}</tr></thead>
<tbody>
{% for group in t.groups %}
{% if group.title %}
<tr><th colspan="{{ t.headers | length }}" scope="rowgroup" class="rowgroup">{{ group.title }}</th></tr>
{% endif %}
{% for row in group.rows %}
<tr>{% for c in row %}{{ cell(c) }}{% endfor %}</tr>
{% endfor %}
{% endfor %}
</tbody></table></div>
{% if t.notes %}
<p class="note">{% for note in t.notes %}{{ note }}{% if not loop.last %}<br>{% endif %}{% endfor %}</p>
{% endif %}</div>
{%- endmacro %}
{%- macro figure(f) -%}
<figure id="{{ f.id }}"><img src="{{ f.data }}" alt="{{ f.alt }}" width="{{ f.width }}" height="{{ f.height }}">
<figcaption><b>Figure {{ f.number }}.</b> {{ f.caption }}</figcaption></figure>
{%- endmacro %}
<body>
<a class="skip" href="#answer">Skip to the answer</a>
<main>
<header>
<h1>{{ title }}: does adding synthetic images help?</h1>
<p class="meta">{{ subtitle }}</p>
<nav aria-label="Sections">{% for s in sections %}<a href="#{{ s.key }}">{{ s.link }}</a> {% endfor %}</nav>
</header>

{% for s in sections %}
<section id="{{ s.key }}"><h2>{{ s.heading }}</h2>
{% if s.key == "answer" %}
<div class="answer">{% for p in s.paragraphs %}<p>{{ p }}</p>{% endfor %}</div>
{% if phantom %}
<p class="warning"><b>The images of this run are phantoms:</b> drawn by a program that plants the disease signs, so
that the truth is known. They test the method. They say nothing about patients.</p>
{% endif %}
{% elif s.key == "limits" %}
<ul>{% for p in s.paragraphs %}<li>{{ p }}</li>{% endfor %}</ul>
{% else %}
{% for p in s.paragraphs %}<p>{{ p }}</p>{% endfor %}
{% endif %}
{% for e in s.exhibits %}
{% if e.kind == "table" %}{{ table(e) }}{% else %}{{ figure(e) }}{% endif %}

{% endfor %}
{% if s.key == "provenance" %}
<p>Every number above stands in one of these files. Beside each lies a record
(<code>.provenance.json</code>) with the hashes of the settings, inputs and source files it was made from.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Files this page was made from"><table>
<thead><tr><th scope="col">file</th><th scope="col">sha256</th></tr></thead>
<tbody>
{% for name, digest in files %}
<tr><td><code>{{ name }}</code></td><td><code>{{ digest }}</code></td></tr>
{% endfor %}
</tbody></table></div>
<p>Versions: {% for name, version in versions.items() %}
{{ name }} {{ version }}{% if not loop.last %}, {% endif %}{% endfor %}.</p>
{% for name, text in settings_texts %}<details><summary>Settings: {{ name }}</summary><pre>{{ text }}</pre></details>
{% endfor %}
{% endif %}
</section>

{% endfor %}
</main>
</body>
</html>
"""
