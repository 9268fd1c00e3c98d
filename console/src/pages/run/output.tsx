// The output of a run as its readers see it, live or up to any stored frame.
import { useMemo, useState } from "preact/hooks";

import { outputOf, type RunFrames } from "../../model/frames";
import type { Run } from "../../types";
import { Empty, Problem } from "../../ui/basics";
import { JsonView } from "../../ui/json";
import { Bubble } from "../../ui/messages";

export function Output({ run, streamed }: { run: Run; streamed: RunFrames }) {
  const [upTo, setUpTo] = useState<number | null>(null);
  const { frames } = streamed;
  const shown = upTo ?? frames.length;
  const output = useMemo(() => outputOf(frames.slice(0, shown)), [frames, frames.length, shown]);
  const last = frames[shown - 1];
  return (
    <>
      <Problem text={streamed.error} />
      <label class="scrubber">
        Up to frame {shown} of {frames.length} <code>{last?.id ?? ""}</code>
        <input
          type="range"
          min={0}
          max={frames.length}
          value={shown}
          onInput={(event) => {
            const place = Number(event.currentTarget.value);
            setUpTo(place === frames.length ? null : place);
          }}
        />
      </label>
      {output.messages.map((message) => (
        <Bubble key={message.id} type={message.type} name={message.name} text={message.text} calls={message.calls} />
      ))}
      {output.values !== null && (
        <>
          <h2>Values</h2>
          <JsonView value={output.values} />
        </>
      )}
      {output.messages.length === 0 && output.values === null && <Fallback run={run} isOver={streamed.isOver} />}
    </>
  );
}

function Fallback({ run, isOver }: { run: Run; isOver: boolean }) {
  const text = run.completion?.last_ai_message;
  if (text) return <Bubble type="ai" name={null} text={text} calls={[]} />;
  return <Empty>{isOver ? "The stored frames of this run have no output." : "There is no output yet."}</Empty>;
}
