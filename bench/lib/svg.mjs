// A bar chart as SVG text. The colours are chosen by CSS for light and dark pages; the background
// is the page's own. No script, no fonts, no dependency.

const WIDTH = 860;
const MARGIN = 16;
const LABEL_WIDTH = 218;
const VALUE_WIDTH = 130;
const BAR_HEIGHT = 18;
const BAR_GAP = 6;
const PANEL_GAP = 26;
const CAPTION_LINE = 15;
const CAPTION_COLUMNS = 128;

// GitHub shows a README's SVG as an image: prefers-color-scheme works there, page styles do not.
const STYLE = `
text {
  font: 13px system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif;
  fill: #1f2328;
}
.title { font-size: 17px; font-weight: 600 }
.panel { font-weight: 600 }
.soft { fill: #59636e; font-size: 12px }
.caption { fill: #59636e; font-size: 11px }
.uvio { fill: #2f6fde } .node { fill: #4f9d5b } .other { fill: #9aa4af }
.uvio-text { font-weight: 600 }
.axis { stroke: #9aa4af; stroke-width: 1 }
.whisker { stroke: #1f2328; stroke-width: 1; opacity: .65 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .soft, .caption { fill: #9198a1 }
  .uvio { fill: #5b93f5 } .node { fill: #58b368 } .other { fill: #6b747e }
  .axis { stroke: #6b747e } .whisker { stroke: #e6edf3 }
}`;

const escaped = (text) =>
  String(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

function text(x, y, words, kind = '', anchor = 'start') {
  const end = anchor === 'start' ? '' : ` text-anchor="${anchor}"`;
  const name = kind === '' ? '' : ` class="${kind}"`;
  return `<text x="${x}" y="${y}"${name}${end}>${escaped(words)}</text>`;
}

/** Three significant digits at most `digits` behind the point. */
function format(value, digits) {
  if (value >= 1000) return Math.round(value).toLocaleString('en-US');
  const behind = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toFixed(Math.min(digits, behind));
}

function drawBar(bar, y, scale, digits) {
  const middle = y + BAR_HEIGHT / 2;
  const base = middle + 4.5;
  const left = MARGIN + LABEL_WIDTH;
  const at = (value) => (left + value * scale).toFixed(1);
  const width = Math.max(1, bar.value * scale).toFixed(1);
  const heavy = bar.family === 'uvio' ? 'uvio-text' : '';
  const right = left + Math.max(bar.value, bar.high ?? 0) * scale + 8;
  const words = format(bar.value, digits) + (bar.note ? ` (${bar.note})` : '');
  const parts = [
    text(left - 8, base, bar.label, heavy, 'end'),
    `<rect x="${left}" y="${y}" width="${width}" height="${BAR_HEIGHT}" rx="2"`,
    `  class="${bar.family}"/>`,
  ];
  if (bar.low !== undefined && bar.high > bar.low) {
    const line = `M${at(bar.low)} ${middle}H${at(bar.high)}`;
    const ends = [bar.low, bar.high].map((end) => `M${at(end)} ${middle - 4}v8`).join('');
    parts.push(`<path d="${line}${ends}" class="whisker"/>`);
  }
  parts.push(text(right.toFixed(1), base, words, heavy));
  return parts.join('\n');
}

function drawPanel(panel, top, digits) {
  const highest = Math.max(...panel.bars.map((bar) => Math.max(bar.value, bar.high ?? 0)));
  const left = MARGIN + LABEL_WIDTH;
  const scale = (WIDTH - left - VALUE_WIDTH - MARGIN) / highest;
  const parts = [text(MARGIN, top + 13, panel.title, 'panel')];
  let y = top + 24;
  const first = y;
  for (const bar of panel.bars) {
    parts.push(drawBar(bar, y, scale, digits));
    y += BAR_HEIGHT + BAR_GAP;
  }
  parts.push(`<path d="M${left} ${first - 3}V${y - 3}" class="axis"/>`);
  return { svg: parts.join('\n'), bottom: y };
}

/** Breaks captions at spaces: SVG text does not wrap. */
function wrap(line) {
  const lines = [''];
  for (const word of line.split(' ')) {
    const last = lines.at(-1);
    if (last !== '' && last.length + word.length >= CAPTION_COLUMNS) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines;
}

/** @param chart {title, subtitle, digits, panels: [{title, bars}]}; @param captions lines below */
export function drawChart(chart, captions) {
  const parts = [
    text(MARGIN, MARGIN + 16, chart.title, 'title'),
    text(MARGIN, MARGIN + 36, chart.subtitle ?? '', 'soft'),
  ];
  let y = MARGIN + 58;
  for (const panel of chart.panels.filter(({ bars }) => bars.length > 0)) {
    const drawn = drawPanel(panel, y, chart.digits ?? 2);
    parts.push(drawn.svg);
    y = drawn.bottom + PANEL_GAP - BAR_GAP;
  }
  for (const line of captions.flatMap(wrap)) {
    parts.push(text(MARGIN, y, line, 'caption'));
    y += CAPTION_LINE;
  }
  const size = `width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}"`;
  const label = escaped(chart.title).replaceAll('"', '&quot;');
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="${label}">
<style>${STYLE}
</style>
${parts.join('\n')}
</svg>
`;
}
