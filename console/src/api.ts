// Requests to the server that these pages come from.
import { connectionLost } from "./connection";
import { authHeaders, refusal } from "./session";
import { hasWritten, isShared, readForAll } from "./shared-reads";

/** The root of the API: the folder above the console, under any prefix. */
export const ROOT = new URL("..", location.href.split("#")[0]).href.replace(/\/$/, "");

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export type Query = Record<string, string | number | boolean | string[] | null | undefined>;

function address(path: string, query: Query = {}): string {
  const url = new URL(ROOT + path);
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === "") continue;
    for (const one of Array.isArray(value) ? value : [value]) url.searchParams.append(name, String(one));
  }
  return url.href;
}

async function textOf(answer: Response): Promise<string> {
  const text = await answer.text();
  try {
    const { detail } = JSON.parse(text);
    return typeof detail === "string" ? detail : text;
  } catch {
    return text || answer.statusText;
  }
}

/** Sends a request and returns its response; throws ApiError for a refusal. */
export async function send(path: string, options: RequestInit = {}, query: Query = {}): Promise<Response> {
  let answer: Response;
  try {
    const [url, method] = [address(path, query), options.method ?? "GET"];
    const headers = { ...authHeaders(), ...(options.headers as Record<string, string>) };
    answer = isShared(method, url)
      ? await readForAll({ method, url, body: options.body as string | undefined, headers })
      : await fetch(url, { ...options, headers });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    connectionLost(`${ROOT}/ok`);
    throw new ApiError(0, "The server does not answer.");
  }
  if (answer.ok) return answer;
  const text = await textOf(answer);
  if (answer.status === 401) refusal.value = text;
  throw new ApiError(answer.status, text);
}

export async function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return (await send(path, { signal }, query)).json();
}

export type Page<T> = { items: T[]; total: number };

/** Returns one page of a list, with the number of all its entries. */
export async function getPage<T>(path: string, query: Query = {}): Promise<Page<T>> {
  return pageOf<T>(await send(path, {}, query));
}

async function pageOf<T>(answer: Response): Promise<Page<T>> {
  const items: T[] = await answer.json();
  return { items, total: Number(answer.headers.get("x-pagination-total") ?? items.length) };
}

function withBody(method: string, body: unknown): RequestInit {
  return { method, body: JSON.stringify(body), headers: { "content-type": "application/json" } };
}

export async function call<T>(method: string, path: string, body: unknown = {}, query: Query = {}): Promise<T> {
  const text = await (await send(path, withBody(method, body), query)).text();
  hasWritten();
  return (text ? JSON.parse(text) : null) as T;
}

export async function search<T>(path: string, body: unknown): Promise<Page<T>> {
  return pageOf<T>(await send(path, withBody("POST", body)));
}
