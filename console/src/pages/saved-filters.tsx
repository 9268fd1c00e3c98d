// Filters that the reader has saved under a name, in this browser.
import { signal } from "@preact/signals";

import { route, setQuery } from "../router";
import { Button } from "../ui/basics";

const STORED_AS = "runstead.filters";
export const NO_FILTERS = {
  status: "",
  assistant_id: "",
  thread_id: "",
  metadata: "",
  tag: "",
  error: "",
  dead_letters: "",
  offset: "",
};

const saved = signal<Record<string, Record<string, string>>>(JSON.parse(localStorage.getItem(STORED_AS) ?? "{}"));

function keep(filters: Record<string, Record<string, string>>): void {
  saved.value = filters;
  localStorage.setItem(STORED_AS, JSON.stringify(filters));
}

export function SavedFilters() {
  const current = Object.fromEntries(
    [...route.value.query].filter(([name]) => name in NO_FILTERS && name !== "offset"),
  );
  const save = (): void => {
    const name = prompt("Name of this filter");
    if (name) keep({ ...saved.value, [name]: current });
  };
  const remove = (name: string): void => {
    const { [name]: _, ...others } = saved.value;
    keep(others);
  };
  return (
    <>
      {Object.keys(current).length > 0 && <Button onClick={save}>Save filter</Button>}
      {Object.entries(saved.value).map(([name, filter]) => (
        <span key={name} class="saved">
          <button type="button" onClick={() => setQuery({ ...NO_FILTERS, ...filter })}>
            {name}
          </button>
          <button type="button" aria-label={`Forget the filter ${name}`} onClick={() => remove(name)}>
            ×
          </button>
        </span>
      ))}
    </>
  );
}
