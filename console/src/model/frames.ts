// The frames of a run's stream, from the first that is stored, and the output that they contain.
import { useEffect, useState } from "preact/hooks";

import { readShared } from "../shared-stream";
import type { Frame } from "../sse";

const SHOW_EVERY_MS = 100;

export type StreamedFrame = Frame & { key: string };
export type RunFrames = { frames: StreamedFrame[]; cuts: number; isOver: boolean; error: string | null };

export function useFrames(threadId: string, runId: string, isWanted: boolean): RunFrames {
  const [state, setState] = useState<RunFrames>({ frames: [], cuts: 0, isOver: false, error: null });
  useEffect(() => {
    if (!isWanted) return;
    const stop = new AbortController();
    const frames: StreamedFrame[] = [];
    let [cuts, timer] = [0, 0];
    const show = (isOver: boolean, error: string | null = null): void => {
      clearTimeout(timer);
      timer = 0;
      if (!stop.signal.aborted) setState({ frames, cuts, isOver, error });
    };
    const showSoon = (): void => {
      timer ||= window.setTimeout(() => show(false), SHOW_EVERY_MS);
    };
    readShared(threadId, runId, {
      signal: stop.signal,
      onFrames: (batch) => {
        for (const frame of batch) frames.push({ ...frame, key: String(frames.length) });
        showSoon();
      },
      onCut: () => {
        cuts += 1;
        showSoon();
      },
    }).then(
      () => show(true),
      (error: Error) => show(true, error.message),
    );
    return () => stop.abort();
  }, [threadId, runId, isWanted]);
  return state;
}

export type StreamedMessage = { id: string; type: string; name: string | null; text: string; calls: string[] };
export type StreamedOutput = { messages: StreamedMessage[]; values: unknown };

/** The messages and the last values of the frames, as a client would show them. */
export function outputOf(frames: readonly Frame[]): StreamedOutput {
  const messages = new Map<string, StreamedMessage>();
  let values: unknown = null;
  for (const frame of frames) {
    const [kind] = frame.event.split("|");
    if (kind === "messages") {
      const [message] = JSON.parse(frame.data) as [WireMessage];
      if (message?.type) addMessage(messages, message);
    } else if (kind === "values" && frame.event === "values") values = frame.data;
  }
  return { messages: [...messages.values()], values: typeof values === "string" ? JSON.parse(values) : null };
}

export type WireMessage = {
  id?: string;
  type: string;
  name?: string | null;
  content: unknown;
  tool_calls?: { id?: string; name: string; args: unknown }[];
  tool_call_id?: string;
};

function addMessage(messages: Map<string, StreamedMessage>, message: WireMessage): void {
  const id = message.id ?? `unnamed-${messages.size}`;
  const isChunk = message.type.endsWith("Chunk");
  const before = isChunk ? messages.get(id) : undefined;
  const calls = (message.tool_calls ?? []).map((call) => call.name).filter(Boolean);
  messages.set(id, {
    id,
    type: typeOf(message),
    name: message.name ?? null,
    text: (before?.text ?? "") + textOf(message.content),
    calls: [...(before?.calls ?? []), ...calls],
  });
}

export function typeOf(message: { type: string }): string {
  return message.type === "AIMessageChunk" ? "ai" : message.type.replace(/MessageChunk$/, "").toLowerCase();
}

/** The text of a message's content, which is a text or a list of blocks. */
export function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((block) => (typeof block === "string" ? block : (block?.text ?? ""))).join("");
}
