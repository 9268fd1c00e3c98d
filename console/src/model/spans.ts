// The stored events of a run as spans: attempts, nodes, and the calls of models and tools.
import type { Json, RunEvent } from "../types";

export type SpanKind = "queue" | "attempt" | "node" | "model" | "tool" | "custom";

export type Span = {
  key: string;
  kind: SpanKind;
  name: string;
  depth: number;
  start: number;
  /** null while it goes on. */
  end: number | null;
  status: "running" | "success" | "error" | "stopped" | "waiting";
  caller: string | null;
  tokens: number | null;
  first: RunEvent | null;
  last: RunEvent | null;
};

const ENDS: Record<string, Span["status"]> = {
  run_end: "success",
  run_error: "error",
  run_stopped: "stopped",
  llm_response: "success",
  llm_error: "error",
  llm_stopped: "stopped",
  tool_end: "success",
  tool_error: "error",
  tool_stopped: "stopped",
};

/** Events arrive in order, a page at a time: spans grow with `add`. */
export class SpanTree {
  readonly spans: Span[] = [];
  private attempt: Span | null = null;
  private nodes: Span[] = [];
  private step = -1;
  private readonly calls = new Map<string, Span>();

  add(events: readonly RunEvent[]): void {
    for (const event of events) this.addOne(event);
  }

  /** Ends what still goes on, when the run itself has ended. */
  close(time: number): void {
    for (const span of this.spans) {
      if (span.end !== null) continue;
      span.end = time;
      span.status = span.kind === "node" || span.kind === "custom" ? "success" : "stopped";
    }
  }

  private addOne(event: RunEvent): void {
    const time = Date.parse(event.created_at);
    switch (event.event_type) {
      case "run_start":
        this.endAttempt(time, "stopped", null);
        this.attempt = this.open(event, "attempt", `attempt ${event.metadata.attempt ?? 1}`, 0);
        break;
      case "run_end":
      case "run_error":
      case "run_stopped":
        this.endAttempt(time, ENDS[event.event_type]!, event);
        break;
      case "node_start":
        this.startNode(event, time);
        break;
      case "llm_request":
        this.startCall(event, "model", text(event.content.model) ?? "model");
        break;
      case "tool_start":
        this.startCall(event, "tool", text(event.content.name) ?? "tool");
        break;
      case "custom": {
        const span = this.open(event, "custom", text(event.content.name) ?? "custom", this.depthInside());
        [span.end, span.status] = [time, "success"];
        break;
      }
      default:
        this.endCall(event, time);
    }
  }

  private open(event: RunEvent, kind: SpanKind, name: string, depth: number): Span {
    const span: Span = {
      key: `${kind}-${event.seq}`,
      kind,
      name,
      depth,
      start: Date.parse(event.created_at),
      end: null,
      status: "running",
      caller: event.metadata.caller ?? null,
      tokens: null,
      first: event,
      last: null,
    };
    this.spans.push(span);
    return span;
  }

  private depthInside(): number {
    return this.nodes.length > 0 ? 2 : 1;
  }

  /** Nodes have no event at their end: a node of a later step begins when all of this step have ended. */
  private startNode(event: RunEvent, time: number): void {
    const step = Number(event.content.step ?? this.step + 1);
    if (step !== this.step) this.endNodes(time);
    this.step = step;
    this.nodes.push(this.open(event, "node", text(event.content.node) ?? "node", 1));
  }

  private endNodes(time: number, status: Span["status"] = "success"): void {
    for (const node of this.nodes) [node.end, node.status] = [time, status];
    this.nodes = [];
  }

  private endAttempt(time: number, status: Span["status"], event: RunEvent | null): void {
    this.endNodes(time, status);
    this.step = -1;
    for (const call of this.calls.values()) [call.end, call.status] = [time, "stopped"];
    this.calls.clear();
    if (this.attempt === null) return;
    [this.attempt.end, this.attempt.status, this.attempt.last] = [time, status, event];
    this.attempt = null;
  }

  private startCall(event: RunEvent, kind: "model" | "tool", name: string): void {
    const span = this.open(event, kind, name, this.depthInside());
    this.calls.set(String(event.content.call_id), span);
  }

  private endCall(event: RunEvent, time: number): void {
    const status = ENDS[event.event_type];
    const call = this.calls.get(String(event.content.call_id));
    if (status === undefined || call === undefined) return;
    this.calls.delete(String(event.content.call_id));
    [call.end, call.status, call.last, call.tokens] = [time, status, event, tokensOf(event.content.message)];
  }
}

function text(value: Json | undefined): string | null {
  return typeof value === "string" ? value : null;
}

function tokensOf(message: Json | undefined): number | null {
  const usage = (message as { usage_metadata?: { total_tokens?: number } } | undefined)?.usage_metadata;
  return usage?.total_tokens ?? null;
}
