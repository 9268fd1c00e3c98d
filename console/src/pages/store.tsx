// The store: namespaces, their items, and a search in them. Items can be changed and deleted.
import { useState } from "preact/hooks";

import { call } from "../api";
import { counted } from "../format";
import { route, setQuery } from "../router";
import { useResource } from "../resource";
import { Empty, Problem } from "../ui/basics";
import { TextField } from "../ui/fields";
import { ItemForm, type StoreItem } from "./store-item";

const LIMIT = 200;

export default function Store() {
  const { query } = route.value;
  const namespace: string[] = JSON.parse(query.get("namespace") ?? "[]");
  const text = query.get("query") ?? "";
  const found = useResource(`items ${namespace.join("\n")} ${text}`, () =>
    call<{ items: StoreItem[] }>("POST", "/store/items/search", {
      namespace_prefix: namespace,
      limit: LIMIT,
      ...(text === "" ? {} : { query: text }),
    }),
  );
  const names = useResource("namespaces", () =>
    call<{ namespaces: string[][] }>("POST", "/store/namespaces", { limit: LIMIT }),
  );
  const [chosen, setChosen] = useState<string | null>(null);
  const reload = async (): Promise<void> => {
    await Promise.all([found.reload(), names.reload()]);
  };
  const items = found.data?.items ?? [];
  const item = items.find((one) => placeOf(one) === chosen) ?? null;
  return (
    <>
      <h1>Store</h1>
      <Search text={text} />
      <Problem text={found.error ?? names.error} />
      <div class="store">
        <nav aria-label="Namespaces">
          <Namespaces names={names.data?.namespaces ?? []} chosen={namespace} />
        </nav>
        <div>
          <p class="muted">{counted(items.length, "item")}</p>
          {found.data !== null && items.length === 0 && <Empty>There is no item here.</Empty>}
          <ul class="list">
            {items.map((one) => (
              <li key={placeOf(one)}>
                <button type="button" class="link" aria-pressed={one === item} onClick={() => setChosen(placeOf(one))}>
                  {one.namespace.join(" / ")} / {one.key}
                </button>
              </li>
            ))}
          </ul>
        </div>
        <ItemForm
          key={item === null ? namespace.join("\n") : `${placeOf(item)} ${item.updated_at}`}
          item={item}
          namespace={namespace}
          onChanged={reload}
        />
      </div>
    </>
  );
}

function placeOf({ namespace, key }: StoreItem): string {
  return JSON.stringify([namespace, key]);
}

function Search({ text }: { text: string }) {
  const [query, setText] = useState(text);
  const submit = (event: Event): void => {
    event.preventDefault();
    setQuery({ query });
  };
  return (
    <form class="filters" onSubmit={submit}>
      <TextField
        label="Search by meaning"
        value={query}
        onChange={setText}
        hint="Works where the server has an index."
      />
      <button type="submit">Search</button>
    </form>
  );
}

function Namespaces({ names, chosen }: { names: string[][]; chosen: string[] }) {
  const all: string[][] = [[], ...names];
  return (
    <ul class="list">
      {all.map((name) => (
        <li key={name.join("\n")}>
          <button
            type="button"
            class="link"
            aria-current={name.join("\n") === chosen.join("\n") ? "true" : undefined}
            onClick={() => setQuery({ namespace: name.length === 0 ? "" : JSON.stringify(name) })}
          >
            {name.length === 0 ? "All namespaces" : name.join(" / ")}
          </button>
        </li>
      ))}
    </ul>
  );
}
