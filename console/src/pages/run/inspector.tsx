// The inspector beside the waterfall: input and output of one span, and the stored events that it consists of.
import { useState } from "preact/hooks";

import { duration } from "../../format";
import type { Span } from "../../model/spans";
import type { RunEvent } from "../../types";
import { Empty, Facts } from "../../ui/basics";
import { JsonView } from "../../ui/json";
import { Tabs } from "../../ui/tabs";

const TABS = ["Input", "Output", "Events"] as const;

type InspectorProps = { span: Span | null; events: RunEvent[]; runId: string };

export function Inspector({ span, events, runId }: InspectorProps) {
  const [tab, setTab] = useState<(typeof TABS)[number]>("Output");
  if (span === null) {
    return (
      <aside class="inspector" aria-label="Inspector">
        <Empty>Select a row to see its input, its output and its events.</Empty>
      </aside>
    );
  }
  return (
    <aside class="inspector" aria-label="Inspector">
      <h2>{span.name}</h2>
      <Facts
        of={[
          ["Kind", span.kind],
          ["Result", span.status],
          ["Caller", span.caller ?? ""],
          ["Tokens", span.tokens === null ? "" : String(span.tokens)],
          ["Took", span.end === null ? "" : duration(span.end - span.start)],
          ["Began", new Date(span.start).toLocaleTimeString()],
        ]}
      />
      <Tabs label="Parts of the step" names={TABS} chosen={tab} onChoose={setTab}>
        {tab === "Input" && <JsonView value={inputOf(span, events)} depth={4} />}
        {tab === "Output" && <Output span={span} />}
        {tab === "Events" && (
          <JsonView value={{ run_id: runId, events: [span.first, span.last].filter(Boolean) }} depth={4} />
        )}
      </Tabs>
    </aside>
  );
}

function Output({ span }: { span: Span }) {
  const output = outputOf(span);
  return output === null ? <Empty>No output is recorded for this step.</Empty> : <JsonView value={output} depth={4} />;
}

/** The content of a call's request; of a model's, also the last messages that were recorded before it. */
function inputOf(span: Span, events: RunEvent[]): unknown {
  if (span.first === null) return null;
  if (span.kind === "tool") return span.first.content.input;
  if (span.kind !== "model") return span.first.content;
  const place = events.indexOf(span.first);
  const before = events.slice(0, place).filter((event) => event.category === "message");
  return { ...span.first.content, messages_before: before.slice(-5).map((event) => event.content) };
}

function outputOf(span: Span): unknown {
  if (span.last === null) return (span.kind === "custom" ? span.first?.content.data : null) ?? null;
  const { content } = span.last;
  if (span.status === "error" || span.status === "stopped") return content;
  if (span.kind === "tool") return content.output;
  return span.kind === "model" ? content.message : content;
}
