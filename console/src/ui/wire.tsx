// The wire inspector beside a chat: each event as a client gets it, over the legacy SSE stream of a run, over the event
// protocol of the thread, or over both side by side.
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";

import { counted, preview } from "../format";
import type { Chat, Part } from "../model/chat";
import { ProtocolWire } from "../model/protocol-wire";
import { Empty, Problem } from "./basics";
import { JsonView } from "./json";
import { WindowedList } from "./window";

const ROW = 28;

export const WIRES = { legacy: "legacy SSE", protocol: "event protocol", both: "side by side" } as const;
export type WireKind = keyof typeof WIRES;

export function Wire({ chat, kind }: { chat: Chat; kind: WireKind }) {
  return (
    <aside class={kind === "both" ? "wire wire-both" : "wire"} aria-label="Wire">
      {kind !== "protocol" && <Events title="Legacy SSE" parts={chat.parts.value} />}
      {kind !== "legacy" && <Protocol threadId={chat.threadId} />}
    </aside>
  );
}

function Protocol({ threadId }: { threadId: string }) {
  const wire = useMemo(() => new ProtocolWire(threadId), [threadId]);
  useEffect(() => {
    const stop = new AbortController();
    void wire.read(stop.signal);
    return () => stop.abort();
  }, [wire]);
  return (
    <Events title="Event protocol" parts={wire.parts.value}>
      <Problem text={wire.problem.value} />
    </Events>
  );
}

type EventsProps = { title: string; parts: Part[]; children?: ComponentChildren };

function Events({ title, parts, children }: EventsProps) {
  const [selected, setSelected] = useState<string | null>(null);
  const part = parts.find((one) => one.key === selected);
  return (
    <section aria-label={title}>
      <h2>
        {title} <span class="muted">{counted(parts.length, "event")}</span>
      </h2>
      {children}
      {parts.length === 0 && <Empty>The events of the next run appear here, as a client gets them.</Empty>}
      {parts.length > 0 && (
        <WindowedList
          label={`Events on the wire: ${title}`}
          items={parts}
          rowHeight={ROW}
          keyOf={(one) => one.key}
          selected={selected}
          onSelect={(one) => setSelected(one.key)}
          render={(one) => <Row part={one} />}
          follows
        />
      )}
      {part !== undefined && <JsonView value={part.data} depth={3} />}
    </section>
  );
}

function Row({ part }: { part: Part }) {
  return (
    <>
      <code class="frame-id">{part.id ?? ""}</code>
      <span class="frame-event">{part.event}</span>
      <span class="frame-data">{preview(part.shown ?? part.data, 100)}</span>
    </>
  );
}
