// What the SDK can do, read off its objects: `noun.verb` for a client's methods, `stream.…` for those of a thread stream.
// Run by itself, it prints the list.
import { pathToFileURL } from "node:url";

// Only the SDK's own component loader calls it, for components that the platform's CLI bundles.
const INTERNAL = ["~ui"];
const INHERITED = Object.getOwnPropertyNames(Object.prototype);

export const sdk = await import(process.env.SDK);

export function nounsOf(client) {
  const isClient = (name) => Object.getPrototypeOf(client[name] ?? {}) !== Object.prototype && typeof client[name] === "object";
  return Object.keys(client).filter((name) => isClient(name) && !INTERNAL.includes(name));
}

export function verbsOf(object) {
  return Object.getOwnPropertyNames(Object.getPrototypeOf(object)).filter((name) => !INHERITED.includes(name));
}

export function methods() {
  const client = new sdk.Client({ apiUrl: "http://127.0.0.1:1", apiKey: null });
  const found = nounsOf(client).flatMap((noun) => verbsOf(client[noun]).map((verb) => `${noun}.${verb}`));
  return client.threads.stream ? [...found, ...streamMethods(client)] : found;
}

function streamMethods(client) {
  const stream = client.threads.stream({ assistantId: "agent" });
  const modules = Object.keys(stream).filter((name) => Object.values(stream[name] ?? {}).some((value) => value instanceof Function));
  const below = modules.flatMap((module) => Object.keys(stream[module]).map((verb) => `stream.${module}.${verb}`));
  return [...verbsOf(stream).map((verb) => `stream.${verb}`), ...below];
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  console.log(JSON.stringify(methods()));
  process.exit();
}
