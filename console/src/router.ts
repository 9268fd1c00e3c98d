// Addresses of pages, in the fragment of the URL: the server needs no routes for them.
import { computed, signal } from "@preact/signals";

export type Route = { path: string[]; query: URLSearchParams };

const fragment = signal(location.hash);
addEventListener("hashchange", () => (fragment.value = location.hash));

export const route = computed<Route>(() => {
  const [path = "", query = ""] = fragment.value.replace(/^#\/?/, "").split("?");
  return { path: path.split("/").filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) };
});

export function href(path: string[], query: Record<string, string> = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== "");
  const text = new URLSearchParams(given).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

export function go(path: string[], query: Record<string, string> = {}): void {
  location.hash = href(path, query);
}

/** Changes the query of this page without an entry in the browser's history. */
export function setQuery(changes: Record<string, string>): void {
  const query = { ...Object.fromEntries(route.value.query), ...changes };
  history.replaceState(null, "", href(route.value.path, query));
  fragment.value = location.hash;
}
