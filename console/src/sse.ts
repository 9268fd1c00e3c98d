// Server-sent events over fetch, which sends the user's credentials; EventSource cannot.
import { send } from "./api";

export type Frame = { id: string | null; event: string; data: string; at: number };

/** Splits text into frames; keeps what is not complete yet. */
export class FrameParser {
  private rest = "";

  push(text: string): Frame[] {
    const blocks = (this.rest + text).replaceAll("\r\n", "\n").split("\n\n");
    this.rest = blocks.pop() ?? "";
    return blocks.flatMap((block) => frameOf(block) ?? []);
  }
}

function frameOf(block: string): Frame | null {
  let [id, event]: [string | null, string] = [null, "message"];
  const data: string[] = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) event = line.slice(7);
    else if (line.startsWith("id: ")) id = line.slice(4);
    else if (line.startsWith("data: ")) data.push(line.slice(6));
  }
  return data.length === 0 ? null : { id, event, data: data.join("\n"), at: Date.now() };
}

const RETRY_MS = 1_000;

export type Reading = {
  /** Called with each batch of frames. */
  onFrames: (frames: Frame[]) => void;
  /** Called when the stream is cut and is continued after the last frame. */
  onCut?: () => void;
  signal: AbortSignal;
  /** The id of the last frame that is known. */
  after?: string;
};

/** Reads the stored and live frames of a run from its beginning, over cuts, until its end. */
export async function readRun(threadId: string, runId: string, reading: Reading): Promise<void> {
  const { onFrames, onCut, signal } = reading;
  let last = reading.after ?? "-1";
  for (;;) {
    try {
      const answer = await send(`/threads/${threadId}/runs/${runId}/stream`, {
        headers: { "last-event-id": last, accept: "text/event-stream" },
        signal,
      });
      await readFrames(answer, (frames) => {
        last = frames.findLast((frame) => frame.id !== null)?.id ?? last;
        onFrames(frames);
      });
      return;
    } catch (error) {
      if (signal.aborted) return;
      const isCut = error instanceof TypeError || (error as { status?: number }).status === 0;
      if (!isCut) throw error;
      onCut?.();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

export async function readFrames(answer: Response, onFrames: (frames: Frame[]) => void): Promise<void> {
  const [parser, decoder] = [new FrameParser(), new TextDecoder()];
  const reader = answer.body!.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = parser.push(decoder.decode(value, { stream: true }));
    if (frames.length > 0) onFrames(frames);
  }
}
