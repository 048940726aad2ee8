// uPlot with the page's colours. Figures are drawn from numbers; what is read is the exact text beside them.

import { el, fill } from "./dom.js";

export const SERIES = 8; // colours of the style sheet: --series-0 to --series-7
const HEIGHT = 240;
const HOUR = 3_600;
const DAY = 86_400;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(more) {
  const grid = { stroke: colour("--line"), width: 1 };
  return { stroke: colour("--muted"), grid, ticks: { ...grid, size: 4 }, ...more };
}

function dates() {
  const text = (seconds) => new Date(seconds * 1_000).toISOString().slice(5, 10);
  return axis({ space: 50, size: 32, incrs: [1, 2, 7, 14, 30, 60].map((days) => days * DAY), values: (_, at) => at.map(text) });
}

function hours() {
  const text = (seconds) => new Date(seconds * 1_000).toISOString().slice(11, 16);
  return axis({ space: 50, size: 32, incrs: [1, 2, 3, 6].map((count) => count * HOUR), values: (_, at) => at.map(text) });
}

// One chart in one place: drawn anew for new data, on resize and when the theme changes.
export class Chart {
  constructor(place, legend) {
    this.place = place;
    this.legend = legend;
    this.drawing = null;
    this.plot = null;
    new ResizeObserver(() => this.#resize()).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  // Bars stacked from the bottom. `names`; `values[series][x]` numbers; `read(series, x)` the exact text; `label(value)`.
  stacked(days, names, values, read, label) {
    const x = days.map((day) => Date.parse(`${day}T00:00:00Z`) / 1000);
    const tops = [];
    values.forEach((series, index) => tops.push(series.map((value, at) => value + (index ? tops[index - 1][at] : 0))));
    this.drawing = () => {
      const bars = uPlot.paths.bars({ size: [0.7, 40], align: 0 });
      const series = names.map((name, index) => ({
        label: name,
        stroke: colour(`--series-${index}`),
        fill: colour(`--series-${index}`),
        width: 0,
        paths: bars,
        points: { show: false },
      }));
      // the tallest first, so that each lower one covers the foot of the one above
      return {
        options: this.#options(
          [x[0] - DAY / 2, x.at(-1) + DAY / 2],
          1,
          [{}, ...series.reverse()],
          [dates(), axis({ size: 64, values: (_, at) => at.map(label) })],
        ),
        data: [x, ...tops.slice().reverse()],
      };
    };
    this.#legend(names, (index, at) => read(index, at ?? null), (at) => (at === null ? "in all" : days[at]));
    this.#draw();
  }

  // Lines over the day that begins at `start`, and bars of failures in percent on a scale of their own.
  lines(start, x, series, label) {
    this.drawing = () => ({
      options: this.#options(
        [start, start + DAY],
        100,
        [{}, ...series.map((one, index) => this.#line(one, index))],
        [
          hours(),
          axis({ size: 64, values: (_, at) => at.map(label) }),
          axis({ scale: "failed", side: 1, size: 48, grid: { show: false }, space: 60, incrs: [1, 2, 5, 10, 20, 25, 50], values: (_, at) => at.map((part) => `${part} %`) }),
        ],
      ),
      data: [x, ...series.map((one) => one.values)],
    });
    this.#legend(series.map((one) => one.name), (index, at) => (at === null ? "" : series[index].read(at)), () => "");
    this.#draw();
  }

  #line(one, index) {
    const stroke = colour(`--series-${index}`);
    if (one.bars) return { scale: "failed", stroke, fill: stroke, width: 0, paths: uPlot.paths.bars({ size: [0.5, 20] }), points: { show: false } };
    return { stroke, width: 2, spanGaps: true, points: { show: true, size: 5, stroke, fill: stroke } };
  }

  #options(span, least, series, axes) {
    return {
      width: Math.max(200, this.place.clientWidth),
      height: HEIGHT,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1_000), "Etc/UTC"),
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { show: false } },
      scales: {
        x: { range: () => span },
        y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : least] },
        failed: { range: (_, low, high) => [0, Math.min(100, Math.max(4, high * 1.5))] },
      },
      series,
      axes,
      hooks: { setCursor: [(plot) => this.#read(plot.cursor.idx ?? null)] },
    };
  }

  #legend(names, read, heading) {
    const head = el("span", { class: "legend-head" });
    const texts = names.map(() => el("span", { class: "legend-value" }));
    const rows = names.map((name, index) => el("span", { class: "legend-row" }, el("span", { class: `swatch swatch-${index}` }), `${name} `, texts[index]));
    fill(this.legend, head, ...rows);
    this.#read = (at) => {
      head.textContent = heading(at);
      texts.forEach((text, index) => {
        text.textContent = read(index, at);
      });
    };
    this.#read(null);
  }

  #read = () => {};

  #draw() {
    if (this.drawing === null) return;
    this.plot?.destroy();
    const { options, data } = this.drawing();
    this.plot = new uPlot(options, data, this.place);
  }

  #resize() {
    const width = Math.max(200, this.place.clientWidth);
    if (this.plot && this.plot.width !== width) this.plot.setSize({ width, height: HEIGHT });
  }
}
