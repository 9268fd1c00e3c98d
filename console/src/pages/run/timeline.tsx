// The waterfall of a run: a row for each attempt, node and call over a common axis of time.
import { useMemo, useState } from "preact/hooks";

import { count, duration } from "../../format";
import type { RunEvents } from "../../model/run-events";
import type { Span } from "../../model/spans";
import { TimeScale } from "../../model/timescale";
import type { Run } from "../../types";
import { Empty, Problem } from "../../ui/basics";
import { WindowedList } from "../../ui/window";
import { Inspector } from "./inspector";

const ROW = 30;
/** Running bars grow in steps of this, so that a live run is not drawn anew all the time. */
const TICK_MS = 250;

export function Timeline({ run, recorded }: { run: Run; recorded: RunEvents }) {
  const [selected, setSelected] = useState<string | null>(null);
  const [isFolding, setFolding] = useState(true);
  const start = Date.parse(run.created_at);
  const end = run.ended_at ? Date.parse(run.ended_at) : Math.ceil(Date.now() / TICK_MS) * TICK_MS;
  const spans = useMemo(() => withQueue(run, recorded.spans), [recorded.spans, run.started_at]);
  const scale = useMemo(() => new TimeScale(start, end, spans, isFolding), [start, end, spans, isFolding]);
  const folded = scale.folds.reduce((sum, fold) => sum + fold.to - fold.from, 0);
  const span = spans.find((one) => one.key === selected) ?? null;
  return (
    <>
      <div class="row">
        <span class="muted" role="status">
          {count(recorded.events.length)} events{recorded.isComplete ? "" : ", live"} over {duration(end - start)}
          {folded > 0 && `, ${duration(folded)} of waiting folded`}
        </span>
        <label>
          <input type="checkbox" checked={isFolding} onChange={(event) => setFolding(event.currentTarget.checked)} />{" "}
          Fold waits over 5 s
        </label>
      </div>
      <Problem text={recorded.error} />
      {recorded.isComplete && recorded.events.length === 0 && <Empty>This run has recorded no events.</Empty>}
      <div class="split">
        <div class="waterfall">
          <WindowedList
            label="Steps of the run"
            items={spans}
            rowHeight={ROW}
            keyOf={(one) => one.key}
            selected={selected}
            onSelect={(one) => setSelected(one.key)}
            render={(one) => <Row span={one} scale={scale} end={end} />}
            follows={!recorded.isComplete}
          />
        </div>
        <Inspector span={span} events={recorded.events} runId={run.run_id} />
      </div>
    </>
  );
}

function withQueue(run: Run, spans: Span[]): Span[] {
  const [from, to] = [Date.parse(run.created_at), run.started_at ? Date.parse(run.started_at) : null];
  const none = { caller: null, tokens: null, first: null, last: null };
  return [
    {
      key: "queue",
      kind: "queue",
      name: "waited in the queue",
      depth: 0,
      start: from,
      end: to,
      status: "waiting",
      ...none,
    },
    ...spans,
  ];
}

function Row({ span, scale, end }: { span: Span; scale: TimeScale; end: number }) {
  const left = scale.at(span.start);
  const width = scale.at(span.end ?? end) - left;
  const took = duration((span.end ?? end) - span.start);
  const caller = span.caller !== null && span.caller !== "lead_agent" ? ` · ${span.caller}` : "";
  return (
    <>
      <span class="span-name" style={{ paddingInlineStart: `${span.depth * 14}px` }}>
        <span class={`kind kind-${span.kind}`}>{span.kind}</span> {span.name}
        {caller}
      </span>
      <span class="span-track">
        <span
          class={`bar bar-${span.kind} bar-${span.status}`}
          style={{ insetInlineStart: `${left * 100}%`, width: `max(3px, ${width * 100}%)` }}
        />
        {scale.folds.map((fold) => (
          <span
            key={fold.from}
            class="fold"
            style={{
              insetInlineStart: `${scale.at(fold.from) * 100}%`,
              width: `${(scale.at(fold.to) - scale.at(fold.from)) * 100}%`,
            }}
          />
        ))}
      </span>
      <span class="span-took">
        {span.status === "error" && <span class="invalid">error </span>}
        {span.status === "stopped" && "stopped "}
        {took}
      </span>
    </>
  );
}
