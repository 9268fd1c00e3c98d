// The tokens of each day as bars. A table has the same numbers.
import { useEffect, useRef } from "preact/hooks";
import UPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import type { UsageRow } from "./usage";

const HEIGHT = 220;
const DAY_SECONDS = 86_400;

export function UsageChart({ from, to, rows }: { from: string; to: string; rows: UsageRow[] }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const place = box.current!;
    const chart = new UPlot(optionsOf(place), dataOf(from, to, rows), place);
    const observer = new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: HEIGHT }));
    observer.observe(place);
    return () => {
      observer.disconnect();
      chart.destroy();
    };
  }, [from, to, rows]);
  return <div class="chart" ref={box} role="img" aria-label="Tokens by day; the table by day has the numbers" />;
}

/** Every day of the period, also those without usage; the input in front of all tokens. */
function dataOf(from: string, to: string, rows: UsageRow[]): UPlot.AlignedData {
  const byDay = new Map(rows.map((row) => [row.day, row]));
  const days: number[] = [];
  for (let day = Date.parse(from) / 1_000; day <= Date.parse(to) / 1_000; day += DAY_SECONDS) days.push(day);
  const rowsOfDays = days.map((day) => byDay.get(new Date(day * 1_000).toISOString().slice(0, 10)));
  return [days, rowsOfDays.map((row) => row?.total_tokens ?? 0), rowsOfDays.map((row) => row?.input_tokens ?? 0)];
}

function optionsOf(place: HTMLElement): UPlot.Options {
  const style = getComputedStyle(place);
  const bars = UPlot.paths.bars!({ size: [0.7, 40] });
  const axis = {
    stroke: style.color,
    grid: { stroke: style.borderColor, width: 1 },
    ticks: { stroke: style.borderColor },
  };
  return {
    width: place.clientWidth,
    height: HEIGHT,
    tzDate: (seconds) => UPlot.tzDate(new Date(seconds * 1_000), "UTC"),
    cursor: { drag: { x: false, y: false } },
    axes: [axis, { ...axis, size: 70 }],
    scales: {
      x: { range: (_, min, max) => [min - DAY_SECONDS / 2, max + DAY_SECONDS / 2] },
      y: { range: (_, __, max) => [0, Math.max(max, 10)] },
    },
    series: [
      {},
      { label: "all tokens", paths: bars, fill: style.accentColor, stroke: style.accentColor, points: { show: false } },
      {
        label: "of them input",
        paths: bars,
        fill: style.outlineColor,
        stroke: style.outlineColor,
        points: { show: false },
      },
    ],
  };
}
