// Forks: a new run from an earlier state of a thread, as a branch of it.
import { call, search } from "../api";
import type { Checkpoint, Run, ThreadState } from "../types";

const PAGE = 100;
/** The modes that let the console show all of a run. */
export const ALL_MODES = ["values", "updates", "messages-tuple", "custom"];

/** The checkpoint from which a run began; null if the thread had none. */
export async function checkpointBefore(run: Run): Promise<string | null> {
  let before: Checkpoint | null = null;
  let oldest: ThreadState | undefined;
  for (;;) {
    const items: ThreadState[] = await pageOfRun(run, before);
    oldest = items.at(-1) ?? oldest;
    if (items.length < PAGE) break;
    before = items.at(-1)!.checkpoint;
  }
  if (oldest === undefined) throw new Error("This run has left no state in its thread; start a new run instead.");
  return oldest.parent_checkpoint?.checkpoint_id ?? null;
}

async function pageOfRun(run: Run, before: Checkpoint | null): Promise<ThreadState[]> {
  const body = { limit: PAGE, metadata: { run_id: run.run_id }, before };
  return (await search<ThreadState>(`/threads/${run.thread_id}/history`, body)).items;
}

export type Fork = {
  threadId: string;
  checkpointId: string | null;
  assistantId: string;
  graphId: string | null;
  input: unknown;
  command: unknown;
  /** Applied to the state first, as a node would; null for no change. */
  update: unknown;
};

/** Starts the fork and returns its run. */
export async function startFork(fork: Fork): Promise<Run> {
  let { threadId, checkpointId } = fork;
  if (checkpointId === null) {
    // The run was the first of its thread: there is no state to branch from.
    const thread = await call<{ thread_id: string }>("POST", "/threads", { metadata: { graph_id: fork.graphId } });
    threadId = thread.thread_id;
  }
  if (fork.update !== null) {
    const place = checkpointId
      ? { checkpoint: { checkpoint_id: checkpointId, checkpoint_ns: "" } }
      : { as_node: "__start__" };
    const changed = await call<{ checkpoint: Checkpoint }>("POST", `/threads/${threadId}/state`, {
      values: fork.update,
      ...place,
    });
    checkpointId = changed.checkpoint.checkpoint_id;
  }
  return call<Run>("POST", `/threads/${threadId}/runs`, {
    assistant_id: fork.assistantId,
    input: fork.input,
    ...(fork.input === null && fork.command ? { command: fork.command } : {}),
    ...(checkpointId ? { checkpoint_id: checkpointId } : {}),
    stream_mode: ALL_MODES,
    stream_resumable: true,
  });
}
