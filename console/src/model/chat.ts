// A chat with a graph on one thread, over the client that users have: streaming, rejoining, questions, stopping.
import { RunsClient } from "@langchain/langgraph-sdk/client";
import { signal } from "@preact/signals";

import { get, ROOT } from "../api";
import { generation } from "../connection";
import { authHeaders } from "../session";
import type { Interrupt, Run, ThreadState } from "../types";
import { ALL_MODES } from "./forks";
import { textOf, typeOf, type WireMessage } from "./frames";

export type ChatMessage = {
  id: string;
  type: string;
  name: string | null;
  text: string;
  calls: { name: string; args: unknown }[];
};
export type Part = { key: string; id: string | null; event: string; data: unknown; shown?: unknown };

type Stream = AsyncIterable<{ id?: string; event: string; data: unknown }>;

export class Chat {
  readonly messages = signal<ChatMessage[]>([]);
  readonly values = signal<unknown>(null);
  readonly interrupts = signal<Interrupt[]>([]);
  readonly parts = signal<Part[]>([]);
  readonly runId = signal<string | null>(null);
  readonly problem = signal<string | null>(null);
  private readonly stopped = new AbortController();
  private readonly runs = new RunsClient({
    apiUrl: ROOT,
    apiKey: null,
    // Read for each request: a token is renewed while the page is open.
    onRequest: (_url, init) => ({ ...init, headers: { ...(init.headers as object), ...authHeaders() } }),
    // Mistakes of the user are shown at once; a server that is away is tried again by this page.
    callerOptions: { maxRetries: 1 },
  });

  constructor(
    readonly threadId: string,
    readonly assistantId: string,
  ) {}

  /** Shows the thread's state, and joins the run that goes on. */
  async open(): Promise<void> {
    await this.guarded(async () => {
      await this.readState();
      const running = await get<Run[]>(`/threads/${this.threadId}/runs`, {
        status: "running",
        limit: 1,
        select: ["run_id"],
      });
      if (running[0]) await this.join(running[0].run_id);
    });
  }

  async send(input: unknown): Promise<void> {
    await this.guarded(async () => {
      const stream = this.runs.stream(this.threadId, this.assistantId, {
        input: input as Record<string, unknown> | null,
        streamMode: ALL_MODES as ["values"],
        streamResumable: true,
        streamSubgraphs: true,
        onDisconnect: "continue",
        signal: this.stopped.signal,
        onRunCreated: ({ run_id }) => (this.runId.value = run_id),
      });
      await this.read(stream as Stream);
    });
  }

  /** Reads a run from its beginning. */
  async join(runId: string): Promise<void> {
    await this.guarded(async () => {
      this.runId.value = runId;
      const options = { lastEventId: "-1", signal: this.stopped.signal };
      await this.read(this.runs.joinStream(this.threadId, runId, options) as Stream);
    });
  }

  async stop(): Promise<void> {
    if (this.runId.value !== null) await this.runs.cancel(this.threadId, this.runId.value);
  }

  /** Reads no more; the run goes on. */
  close(): void {
    this.stopped.abort();
  }

  private async guarded(work: () => Promise<void>): Promise<void> {
    this.problem.value = null;
    try {
      await work();
    } catch (error) {
      if (!this.stopped.signal.aborted) this.problem.value = (error as Error).message;
    }
  }

  private async read(stream: Stream): Promise<void> {
    this.interrupts.value = [];
    try {
      for await (const part of stream) this.add(part);
    } finally {
      this.runId.value = null;
    }
    await this.readState();
  }

  private add({ id, event, data }: { id?: string; event: string; data: unknown }): void {
    const key = String(this.parts.value.length);
    this.parts.value = [...this.parts.value, { key, id: id ?? null, event, data }];
    if (event === "messages") this.addMessage((data as [WireMessage])[0]);
    else if (event === "values") this.show(data);
    else if (event === "error") this.problem.value = errorText(data);
  }

  private addMessage(message: WireMessage): void {
    if (!message?.type) return;
    const others = this.messages.value;
    const place = others.findIndex((one) => one.id === message.id);
    const added = messageOf(message, String(others.length));
    const before = others[place];
    if (before === undefined) this.messages.value = [...others, added];
    else if (message.type.endsWith("Chunk")) {
      const calls = [...before.calls, ...added.calls.filter((call) => call.name)];
      this.messages.value = others.with(place, { ...before, text: before.text + added.text, calls });
    } else this.messages.value = others.with(place, added);
  }

  private show(values: unknown): void {
    this.values.value = values;
    const { messages } = (values ?? {}) as { messages?: WireMessage[] };
    if (Array.isArray(messages)) this.messages.value = messages.map((one, place) => messageOf(one, String(place)));
  }

  private async readState(): Promise<void> {
    const state = await get<ThreadState>(`/threads/${this.threadId}/state`);
    this.show(state.values);
    this.interrupts.value = state.tasks.flatMap((task) => task.interrupts);
  }
}

function messageOf(message: WireMessage, fallback: string): ChatMessage {
  const calls = (message.tool_calls ?? []).map(({ name, args }) => ({ name, args }));
  return {
    id: message.id ?? fallback,
    type: typeOf(message),
    name: message.name ?? null,
    text: textOf(message.content),
    calls,
  };
}

function errorText(data: unknown): string {
  const { error, message } = (data ?? {}) as { error?: string; message?: string };
  return [error, message].filter(Boolean).join(": ") || "The run failed.";
}

/** Opens the chat again when the server is back. */
export function reopenAfterAbsence(chat: Chat): () => void {
  const before = generation.value;
  return generation.subscribe((now) => {
    if (now !== before) void chat.open();
  });
}
