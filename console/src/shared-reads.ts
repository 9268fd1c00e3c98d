// Reads that lists repeat are sent by one tab of the browser for all tabs of a user: the one that holds the lock. It sends
// them one after another, over one connection, and tabs that ask for the same get the same answer.
import { effect } from "@preact/signals";

import { credentials, identityOf } from "./session";

/** Milliseconds for which an answer serves other tabs. */
const FRESH_MS = 900;
/** Milliseconds after which a tab that gets no answer asks the server itself. */
const PATIENCE_MS = 5_000;

type Read = { method: string; url: string; body: string | undefined; headers: Record<string, string> };
type Answer = { status: number; text: string; headers: Record<string, string> };
type Note =
  { kind: "ask"; id: string; read: Read } | { kind: "answer"; id: string; answer: Answer | null } | { kind: "wrote" };

const KEPT = ["content-type", "x-pagination-total"];
let isPoll = false;
let exchange: Exchange | null = null;

/** Calls a function whose requests, as far as it begins them at once, may be answered by another tab. */
export function asPoll<T>(load: () => T): T {
  isPoll = true;
  try {
    return load();
  } finally {
    isPoll = false;
  }
}

export function isShared(method: string, url: string): boolean {
  return isPoll && exchange !== null && (method === "GET" || /\/(search|history)$/.test(new URL(url).pathname));
}

/** The answer to a read, from this tab or the one that reads for all. */
export function readForAll(read: Read): Promise<Response> {
  return exchange!.read(read);
}

/** What was read before is not shown again: this tab has changed something. */
export function hasWritten(): void {
  exchange?.wrote();
}

class Exchange {
  private readonly channel: BroadcastChannel;
  private readonly stop = new AbortController();
  private readonly waiting = new Map<string, (answer: Answer | null) => void>();
  private readonly recent = new Map<string, { at: number; answer: Promise<Answer> }>();
  private last: Promise<unknown> = Promise.resolve();
  private isLeader = false;
  private asked = 0;
  private readonly name = String(Math.random());

  constructor(channelName: string) {
    this.channel = new BroadcastChannel(channelName);
    this.channel.onmessage = ({ data }: MessageEvent<Note>) => void this.heard(data);
    const hold = (): Promise<void> => {
      this.isLeader = true;
      return new Promise((resolve) => this.stop.signal.addEventListener("abort", () => resolve()));
    };
    navigator.locks.request(channelName, { signal: this.stop.signal }, hold).catch(() => undefined);
  }

  async read(read: Read): Promise<Response> {
    const answer = this.isLeader ? await this.lead(read) : await this.ask(read);
    if (answer === null) return fetch(read.url, read);
    return new Response(answer.text, { status: answer.status, headers: answer.headers });
  }

  wrote(): void {
    this.recent.clear();
    this.channel.postMessage({ kind: "wrote" } satisfies Note);
  }

  close(): void {
    this.stop.abort();
    this.channel.close();
    for (const take of this.waiting.values()) take(null);
  }

  private ask(read: Read): Promise<Answer | null> {
    const id = `${this.name} ${(this.asked += 1)}`;
    return new Promise((resolve) => {
      const take = (answer: Answer | null): void => {
        clearTimeout(timer);
        this.waiting.delete(id);
        resolve(answer);
      };
      const timer = setTimeout(() => take(null), PATIENCE_MS);
      this.waiting.set(id, take);
      this.channel.postMessage({ kind: "ask", id, read } satisfies Note);
    });
  }

  /** Sends the read after those before it, unless its answer is known. */
  private lead(read: Read): Promise<Answer> {
    const key = JSON.stringify([read.method, read.url, read.body]);
    const known = this.recent.get(key);
    if (known !== undefined && Date.now() - known.at < FRESH_MS) return known.answer;
    const answer = this.last.then(async () => {
      const sent = await fetch(read.url, read);
      const headers = KEPT.flatMap((name) => (sent.headers.has(name) ? [[name, sent.headers.get(name)!]] : []));
      return { status: sent.status, text: await sent.text(), headers: Object.fromEntries(headers) };
    });
    this.last = answer.catch(() => undefined);
    this.recent.set(key, { at: Date.now(), answer });
    for (const [name, { at }] of this.recent) if (Date.now() - at > PATIENCE_MS) this.recent.delete(name);
    return answer;
  }

  private async heard(note: Note): Promise<void> {
    if (note.kind === "wrote") this.recent.clear();
    else if (note.kind === "answer") this.waiting.get(note.id)?.(note.answer);
    else if (this.isLeader) {
      // A tab whose read has failed here tries for itself, and so learns that the server is away.
      const answer = await this.lead(note.read).catch(() => null);
      if (!this.stop.signal.aborted) this.channel.postMessage({ kind: "answer", id: note.id, answer } satisfies Note);
    }
  }
}

async function nameOf(identity: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(identity)));
  return `runstead reads ${[...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

// Locks need https or this machine; elsewhere each tab reads for itself.
if (navigator.locks !== undefined) {
  effect(() => {
    const identity = identityOf(credentials.value);
    exchange?.close();
    exchange = null;
    void nameOf(identity).then((name) => {
      // Another user has logged in meanwhile.
      if (identity === identityOf(credentials.value)) exchange ??= new Exchange(name);
    });
  });
}
