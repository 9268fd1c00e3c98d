// The wire inspector beside a chat: each event as the client got it.
import { useState } from "preact/hooks";

import { preview } from "../format";
import type { Chat, Part } from "../model/chat";
import { Empty } from "./basics";
import { JsonView } from "./json";
import { WindowedList } from "./window";

const ROW = 28;

export function Wire({ chat }: { chat: Chat }) {
  const [selected, setSelected] = useState<string | null>(null);
  const parts = chat.parts.value;
  const part = parts.find((one) => one.key === selected);
  return (
    <aside class="wire" aria-label="Wire">
      <h2>Wire</h2>
      {parts.length === 0 && <Empty>The events of the next run appear here, as a client gets them.</Empty>}
      {parts.length > 0 && (
        <WindowedList
          label="Events on the wire"
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
    </aside>
  );
}

function Row({ part }: { part: Part }) {
  return (
    <>
      <code class="frame-id">{part.id ?? ""}</code>
      <span class="frame-event">{part.event}</span>
      <span class="frame-data">{preview(part.data, 100)}</span>
    </>
  );
}
