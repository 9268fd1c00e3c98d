// The raw frames of a run's stream, with the ids under which they are stored.
import { useState } from "preact/hooks";

import { bytes, preview } from "../../format";
import type { RunFrames, StreamedFrame } from "../../model/frames";
import { Copy, Empty, Facts, Problem } from "../../ui/basics";
import { parsed } from "../../ui/fields";
import { JsonView } from "../../ui/json";
import { WindowedList } from "../../ui/window";

const ROW = 28;

export function Frames({ streamed }: { streamed: RunFrames }) {
  const [selected, setSelected] = useState<string | null>(null);
  const { frames, cuts, isOver, error } = streamed;
  const frame = frames.find((one) => one.key === selected) ?? null;
  return (
    <>
      <p class="muted" role="status">
        {frames.length} frames{isOver ? "" : ", live"}
        {cuts > 0 && `, continued after ${cuts} cuts`}
      </p>
      <Problem text={error} />
      {isOver && frames.length === 0 && <Empty>The frames of this run are no longer kept.</Empty>}
      <div class="split">
        <div class="frames">
          <WindowedList
            label="Frames"
            items={frames}
            rowHeight={ROW}
            keyOf={(one) => one.key}
            selected={selected}
            onSelect={(one) => setSelected(one.key)}
            render={(one) => <Row frame={one} />}
            follows={!isOver}
          />
        </div>
        <aside class="inspector" aria-label="Frame">
          {frame === null ? <Empty>Select a frame to see its data.</Empty> : <Content frame={frame} />}
        </aside>
      </div>
    </>
  );
}

function Row({ frame }: { frame: StreamedFrame }) {
  return (
    <>
      <code class="frame-id">{frame.id ?? "no id"}</code>
      <span class={frame.event === "gap" ? "frame-event invalid" : "frame-event"}>{frame.event}</span>
      <span class="frame-data">{preview(frame.data, 120)}</span>
    </>
  );
}

function Content({ frame }: { frame: StreamedFrame }) {
  return (
    <>
      <h2>{frame.event}</h2>
      <Facts
        of={[
          ["Id", <code>{frame.id ?? "none"}</code>],
          ["Size", bytes(frame.data.length)],
        ]}
      />
      <Copy label="Copy data" text={() => frame.data} />
      <JsonView value={parsed(frame.data).value} depth={3} />
    </>
  );
}
