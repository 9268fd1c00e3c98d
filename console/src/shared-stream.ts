// One stream of a run for all tabs of a user: the tab that holds the lock reads it and passes the frames on. When it is
// closed, another tab gets the lock and continues after the last frame.
import { credentials, identityOf } from "./session";
import { type Frame, type Reading, readRun } from "./sse";

/** Milliseconds in which a note reaches the other tabs. */
const OVER_MS = 500;

type Note = { kind: "hello" } | { kind: "frames"; from: number; frames: Frame[] } | { kind: "over" };

/** Like `readRun`, over the stream of another tab if there is one. */
export async function readShared(threadId: string, runId: string, reading: Reading): Promise<void> {
  // Locks need https or this machine; elsewhere each tab reads for itself.
  if (navigator.locks === undefined) return readRun(threadId, runId, reading);
  const name = await nameOf(runId);
  if (reading.signal.aborted) return;
  const shared = new SharedStream(name, threadId, runId, reading);
  try {
    await shared.read();
  } finally {
    shared.close();
  }
}

/** Tabs share only what one user may read. Each tab has its own token of a user. */
async function nameOf(runId: string): Promise<string> {
  const text = new TextEncoder().encode(identityOf(credentials.value));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
  return `runstead ${runId} ${[...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

class SharedStream {
  private readonly channel: BroadcastChannel;
  private readonly frames: Frame[] = [];
  private readonly waiting = new AbortController();
  private isReader = false;

  constructor(
    private readonly name: string,
    private readonly threadId: string,
    private readonly runId: string,
    private readonly reading: Reading,
  ) {
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = ({ data }: MessageEvent<Note>) => this.heard(data);
    reading.signal.addEventListener("abort", () => this.waiting.abort());
  }

  async read(): Promise<void> {
    this.send({ kind: "hello" });
    try {
      await navigator.locks.request(this.name, { signal: this.waiting.signal }, () => this.readAsFirst());
    } catch (error) {
      // Another tab has read the stream to its end, or this one reads no more.
      if (!this.waiting.signal.aborted) throw error;
    }
  }

  close(): void {
    this.channel.close();
  }

  private async readAsFirst(): Promise<void> {
    this.isReader = true;
    await readRun(this.threadId, this.runId, {
      ...this.reading,
      after: this.frames.findLast((frame) => frame.id !== null)?.id ?? undefined,
      onFrames: (frames) => {
        const from = this.frames.length;
        this.take(from, frames);
        this.send({ kind: "frames", from, frames });
      },
    });
    if (this.reading.signal.aborted) return;
    this.send({ kind: "over" });
    // The note and the lock reach other tabs in any order: with the lock first, they would read the stream again.
    await new Promise((resolve) => setTimeout(resolve, OVER_MS));
  }

  private heard(note: Note): void {
    if (note.kind === "hello" && this.isReader) this.send({ kind: "frames", from: 0, frames: this.frames });
    else if (note.kind === "frames" && !this.isReader) this.take(note.from, note.frames);
    else if (note.kind === "over") this.waiting.abort();
  }

  /** Adds frames that are new. Those after a gap come again with the answer to `hello`. */
  private take(from: number, frames: Frame[]): void {
    if (from > this.frames.length) return;
    const added = frames.slice(this.frames.length - from);
    this.frames.push(...added);
    if (added.length > 0) this.reading.onFrames(added);
  }

  private send(note: Note): void {
    if (!this.reading.signal.aborted) this.channel.postMessage(note);
  }
}
