// The assistants of the server, read once for all pages.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { search } from "../api";
import { credentials } from "../session";
import type { Assistant } from "../types";

const MANY = 1_000;
const known = signal<Assistant[]>([]);

export async function readAssistants(): Promise<Assistant[]> {
  const { items } = await search<Assistant>("/assistants/search", { limit: MANY, sort_by: "name", sort_order: "asc" });
  known.value = items;
  return items;
}

export function useAssistants(): Assistant[] {
  useEffect(() => {
    // Lists show ids while there are no names.
    if (known.value.length === 0) readAssistants().catch(() => undefined);
  }, [credentials.value]);
  return known.value;
}

export function assistantNames(assistants: Assistant[]): Map<string, string> {
  return new Map(assistants.map((one) => [one.assistant_id, one.name]));
}
