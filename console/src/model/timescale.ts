// Positions of times on the waterfall's axis. Times in which no call is active are folded if they are long.
import type { Span } from "./spans";

export type Fold = { from: number; to: number };

const FOLDED_FROM_MS = 5_000;
/** The width of a fold, as a part of the axis without folds. */
const FOLD_PART = 0.03;

export class TimeScale {
  readonly folds: Fold[];
  private readonly length: number;
  private readonly foldWidth: number;

  constructor(
    private readonly start: number,
    private readonly end: number,
    spans: readonly Span[],
    isFolding = true,
  ) {
    this.folds = isFolding ? foldsOf(start, end, spans) : [];
    const shown = end - start - this.folds.reduce((sum, fold) => sum + fold.to - fold.from, 0);
    this.foldWidth = Math.max(shown * FOLD_PART, 1);
    this.length = Math.max(shown + this.folds.length * this.foldWidth, 1);
  }

  /** The position of a time, from 0 to 1. */
  at(time: number): number {
    let position = Math.min(Math.max(time, this.start), this.end) - this.start;
    for (const { from, to } of this.folds) {
      if (time >= to) position += this.foldWidth - (to - from);
      else if (time > from) position += ((time - from) / (to - from)) * this.foldWidth - (time - from);
    }
    return position / this.length;
  }
}

/** The times between `start` and `end` in which no model, tool or event is active, as far as they are long. */
function foldsOf(start: number, end: number, spans: readonly Span[]): Fold[] {
  const busy = spans
    .flatMap((span) => {
      if (span.kind === "model" || span.kind === "tool") return [[span.start, span.end ?? end]];
      const moments = [[span.start, span.start]];
      if (span.end !== null) moments.push([span.end, span.end]);
      return moments;
    })
    .sort((one, other) => one[0]! - other[0]!);
  const folds: Fold[] = [];
  let last = start;
  for (const [from, to] of [...busy, [end, end]] as [number, number][]) {
    if (from - last > FOLDED_FROM_MS) folds.push({ from: last, to: from });
    last = Math.max(last, to);
  }
  return folds;
}
