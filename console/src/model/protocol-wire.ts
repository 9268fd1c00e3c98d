// The events of a thread by the event protocol, as a client of it gets them: from run to run, over cuts.
import { signal } from "@preact/signals";

import { send } from "../api";
import { type Frame, readFrames } from "../sse";
import type { Part } from "./chat";

const CHANNELS = ["values", "updates", "checkpoints", "messages", "tools", "custom", "lifecycle", "input", "tasks"];
const RETRY_MS = 1_000;

type ProtocolEvent = { seq: number; method: string; params: { namespace: string[]; data: unknown } };

export class ProtocolWire {
  readonly parts = signal<Part[]>([]);
  readonly problem = signal<string | null>(null);
  private last: number | null = null;

  constructor(readonly threadId: string) {}

  /** Reads until `signal` is aborted. */
  async read(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const answer = await send(`/threads/${this.threadId}/stream/events`, {
          method: "POST",
          body: JSON.stringify({ channels: CHANNELS, ...(this.last === null ? {} : { since: this.last }) }),
          headers: { "content-type": "application/json", accept: "text/event-stream" },
          signal,
        });
        this.problem.value = null;
        await readFrames(answer, (frames) => this.take(frames));
      } catch (error) {
        if (!signal.aborted) this.problem.value = (error as Error).message;
      }
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  private take(frames: Frame[]): void {
    const parts = frames.map((frame, place) => {
      const event: ProtocolEvent = JSON.parse(frame.data);
      if (typeof event.seq === "number") this.last = event.seq;
      const key = String(this.parts.value.length + place);
      return { key, id: frame.id, event: event.method ?? frame.event, data: event, shown: event.params?.data ?? event };
    });
    this.parts.value = [...this.parts.value, ...parts];
  }
}
