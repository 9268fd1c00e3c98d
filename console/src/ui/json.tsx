// Any JSON value as a tree; what is closed is not in the document.
import { useState } from "preact/hooks";

import { count, counted, preview } from "../format";

const SHOWN_AT_ONCE = 100;
const LONGEST_TEXT = 2_000;

export function JsonView({ value, depth = 2 }: { value: unknown; depth?: number }) {
  return (
    <div class="json">
      <Value value={value} depth={depth} />
    </div>
  );
}

function Value({ value, depth, name }: { value: unknown; depth: number; name?: string }) {
  if (typeof value === "object" && value !== null) return <Branch value={value} depth={depth} name={name} />;
  return (
    <div class="json-leaf">
      {name !== undefined && <span class="json-name">{name}: </span>}
      {typeof value === "string" ? <Text value={value} /> : <span class="json-atom">{String(value)}</span>}
    </div>
  );
}

function Text({ value }: { value: string }) {
  const [isWhole, setWhole] = useState(false);
  const isCut = value.length > LONGEST_TEXT && !isWhole;
  return (
    <>
      <span class="json-text">{isCut ? value.slice(0, LONGEST_TEXT) : value}</span>
      {isCut && (
        <button type="button" onClick={() => setWhole(true)}>
          Show all {count(value.length)} characters
        </button>
      )}
    </>
  );
}

function Branch({ value, depth, name }: { value: object; depth: number; name?: string }) {
  const [isOpen, setOpen] = useState(depth > 0);
  const [shown, setShown] = useState(SHOWN_AT_ONCE);
  const entries = Object.entries(value);
  if (entries.length === 0) return <Leafless value={value} name={name} />;
  const size = Array.isArray(value) ? `${count(entries.length)} in a list` : counted(entries.length, "field");
  return (
    <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        {name !== undefined && <span class="json-name">{name} </span>}
        <span class="json-size">{size}</span>
        {!isOpen && <span class="json-preview"> {preview(value, 80)}</span>}
      </summary>
      {isOpen &&
        entries.slice(0, shown).map(([key, one]) => <Value key={key} name={key} value={one} depth={depth - 1} />)}
      {isOpen && entries.length > shown && (
        <button type="button" onClick={() => setShown(shown + SHOWN_AT_ONCE)}>
          Show more of {count(entries.length)}
        </button>
      )}
    </details>
  );
}

function Leafless({ value, name }: { value: object; name?: string }) {
  return (
    <div class="json-leaf">
      {name !== undefined && <span class="json-name">{name}: </span>}
      <span class="json-atom">{Array.isArray(value) ? "[]" : "{}"}</span>
    </div>
  );
}
