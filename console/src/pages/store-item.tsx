// One item of the store, to read, change or delete; or a new one.
import { useState } from "preact/hooks";

import { call } from "../api";
import { pretty } from "../format";
import type { JsonObject } from "../types";
import { Button, Problem, Time } from "../ui/basics";
import { parsed, TextArea, TextField } from "../ui/fields";

export type StoreItem = { namespace: string[]; key: string; value: JsonObject; updated_at: string };

type ItemProps = { item: StoreItem | null; namespace: string[]; onChanged: () => Promise<void> };

export function ItemForm({ item, namespace, onChanged }: ItemProps) {
  const [place, setPlace] = useState(pretty(item?.namespace ?? namespace).replace(/\s+/g, " "));
  const [key, setKey] = useState(item?.key ?? "");
  const [value, setValue] = useState(pretty(item?.value ?? {}));
  const [problem, setProblem] = useState<string | null>(null);
  const [read, where] = [parsed(value), parsed(place)];
  const act = (method: string, body: object) => async (): Promise<void> => {
    try {
      setProblem(null);
      await call(method, "/store/items", body);
      await onChanged();
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  return (
    <section class="inspector" aria-label="Item">
      <h2>{item === null ? "New item" : item.key}</h2>
      {item === null ? (
        <>
          <TextField label="Namespace (JSON)" value={place} onChange={setPlace} hint={where.problem ?? ""} />
          <TextField label="Key" value={key} onChange={setKey} />
        </>
      ) : (
        <p>
          {item.namespace.join(" / ")}, changed <Time value={item.updated_at} />
        </p>
      )}
      <TextArea label="Value (JSON)" value={value} onChange={setValue} rows={12} problem={read.problem} />
      <div class="actions">
        <Button
          kind="primary"
          disabled={read.problem !== null || where.problem !== null || key === ""}
          onClick={act("PUT", { namespace: where.value, key, value: read.value })}
        >
          Save
        </Button>
        {item !== null && (
          <Button kind="danger" onClick={act("DELETE", { namespace: item.namespace, key: item.key })}>
            Delete
          </Button>
        )}
      </div>
      <Problem text={problem} />
    </section>
  );
}
