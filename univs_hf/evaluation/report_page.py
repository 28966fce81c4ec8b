# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""The page of a report, a template of jinja2 that [`~report.write_report`] fills."""

REPORT_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #8884; }
td { font-variant-numeric: tabular-nums; }
th:first-child, td:first-child, .left { text-align: left; }
.scores td { font-size: 1.6rem; text-align: right; }
.scores th { text-align: right; }
.scroll { overflow-x: auto; }
.pair { display: flex; flex-wrap: wrap; gap: .5rem; margin: .25rem 0 1rem; }
figure { margin: 0; flex: 1 1 20rem; max-width: 560px; }
figure img { width: 100%; display: block; }
figcaption { font-size: .85rem; opacity: .75; }
.bar { display: inline-block; height: .7rem; background: #3b82f6; vertical-align: middle; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p>
{% for name, value in about.items() %}
{{ name }}: {{ value }}{{ "" if loop.last else ";" }}
{% endfor %}
</p>
<table class="scores">
<tr>{% for column in columns %}<th>{{ column.header }}</th>{% endfor %}</tr>
<tr>{% for column in columns %}<td>{{ column.value }}</td>{% endfor %}</tr>
</table>
<details>
<summary>All figures</summary>
<table>
{% for key, value in figures.items() %}
<tr><td>{{ key }}</td><td>{{ value }}</td></tr>
{% endfor %}
</table>
</details>
<h2>Lowest {{ worst_by }}</h2>
{% for video in worst %}
<section>
<h3>{{ video.name }}: {{ video.score }}</h3>
<p>
{% for key, value in video.figures.items() %}
{{ key }} {{ value }}{{ "" if loop.last else "," }}
{% endfor %}
</p>
{% for frame in video.frames %}
<div class="pair">
{% for image in frame.images %}
<figure><img src="{{ image.data }}" alt="{{ image.title }}, {{ frame.caption }}" loading="lazy">
<figcaption>{{ image.title }}, {{ frame.caption }}</figcaption></figure>
{% endfor %}
</div>
{% endfor %}
</section>
{% endfor %}
<h2>All videos</h2>
<div class="scroll">
<table>
<tr><th>video</th><th></th>{% for key in keys %}<th>{{ key }}</th>{% endfor %}</tr>
{% for video in videos %}
<tr><td>{{ video.name }}</td>
<td class="left"><span class="bar" style="width: {{ video.share }}px"></span></td>
{% for cell in video.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table>
</div>
</body>
</html>
"""
