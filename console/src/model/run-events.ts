// The stored events of a run, read from the beginning in pages and followed while the run goes on.
import { useEffect, useState } from "preact/hooks";

import { get } from "../api";
import { generation } from "../connection";
import type { RunEvent } from "../types";
import { type Span, SpanTree } from "./spans";

type EventPage = { data: RunEvent[]; has_more: boolean };

const PAGE = 1_000;
const POLL_MS = 700;

export type RunEvents = { events: RunEvent[]; spans: Span[]; isComplete: boolean; error: string | null };

export function useRunEvents(threadId: string, runId: string, isLive: boolean, endedAt: string | null): RunEvents {
  const [state, setState] = useState<RunEvents>({ events: [], spans: [], isComplete: false, error: null });
  const [reader] = useState(() => new EventReader(threadId, runId));
  useEffect(() => {
    const stop = new AbortController();
    void reader.follow(isLive, endedAt, stop.signal, setState);
    return () => stop.abort();
  }, [reader, isLive, endedAt, generation.value]);
  return state;
}

class EventReader {
  private readonly events: RunEvent[] = [];
  private readonly tree = new SpanTree();

  constructor(
    private readonly threadId: string,
    private readonly runId: string,
  ) {}

  /** Reads until there are no more; of a live run, until `signal` is aborted. */
  async follow(
    isLive: boolean,
    endedAt: string | null,
    signal: AbortSignal,
    show: (state: RunEvents) => void,
  ): Promise<void> {
    for (;;) {
      let hasMore = false;
      try {
        // A live run is followed while its page is seen.
        if (!isLive || !document.hidden) hasMore = await this.readPage(signal);
      } catch (error) {
        if (!signal.aborted) show(this.state(false, (error as Error).message));
        return;
      }
      if (signal.aborted) return;
      if (!hasMore && !isLive && endedAt !== null) this.tree.close(Date.parse(endedAt));
      show(this.state(!hasMore && !isLive, null));
      if (!hasMore && !isLive) return;
      if (!hasMore) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  private async readPage(signal: AbortSignal): Promise<boolean> {
    const after = this.events.at(-1)?.seq ?? 0;
    const path = `/threads/${this.threadId}/runs/${this.runId}/events`;
    const page = await get<EventPage>(path, { after, limit: PAGE }, signal);
    // A reader that has been replaced may have read the same page.
    const added = page.data.filter((event) => event.seq > (this.events.at(-1)?.seq ?? 0));
    this.events.push(...added);
    this.tree.add(added);
    return page.has_more;
  }

  private state(isComplete: boolean, error: string | null): RunEvents {
    return { events: this.events, spans: [...this.tree.spans], isComplete, error };
  }
}
