"""The one style sheet of all pages: plain text, two series colours, light and dark."""

STYLE = """
:root { color-scheme: light dark; --ground: #fcfcfb; --card: #fff; --ink: #1b1f24; --soft: #646b73;
  --line: #dde1e5; --a: #2563b8; --b: #c2570c; --good: #18794e; --bad: #b4232a; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171a; --card: #1b1f23; --ink: #e6e8ea;
  --soft: #9aa2ab; --line: #343a41; --a: #6ea8f5; --b: #f0985a; --good: #5cc596; --bad: #f28b8b; } }
body { background: var(--ground); color: var(--ink); margin: 0;
  font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .4rem 0; } a { color: var(--a); }
.soft { color: var(--soft); } .good { color: var(--good); } .bad { color: var(--bad); }
.tiles, .plots { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
.tile, .plot { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.tile { padding: .6rem .9rem; min-width: 8rem; } .plot { padding: .6rem .75rem;
  flex: 1 1 19rem; max-width: 28rem; }
.tile b { display: block; font-size: 1.35rem; font-weight: 600; }
.plot h3 { font-size: .9rem; font-weight: 600; margin: 0 0 .25rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--soft); font-weight: 500; font-size: .85rem; }
td.num, th.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--soft); font-size: 11px; }
svg .grid { stroke: var(--line); } svg .a { stroke: var(--a); } svg .b { stroke: var(--b); }
svg .fill-a { fill: var(--a); } svg .fill-b { fill: var(--b); }
svg .curve { fill: none; stroke-width: 2; }
h3 .a { color: var(--a); } h3 .b { color: var(--b); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0;
  font: 13px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
article { background: var(--card); border: 1px solid var(--line); border-left-width: 4px;
  border-radius: 6px; padding: .5rem .8rem; margin: .6rem 0; }
article.assistant { border-left-color: var(--a); } article.failed { border-left-color: var(--bad); }
article header { display: flex; justify-content: space-between; gap: 1rem; font-size: .8rem;
  color: var(--soft); }
.call { border-top: 1px dashed var(--line); margin-top: .4rem; padding-top: .3rem; }
.argument { display: grid; grid-template-columns: 7rem 1fr; gap: .5rem; }
.argument pre { margin: 0; }
details > summary { cursor: pointer; color: var(--soft); }
"""
