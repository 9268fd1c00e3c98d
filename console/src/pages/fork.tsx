// The form that forks a run, or a checkpoint of a thread: another input, a changed state, a new branch.
import { useState } from "preact/hooks";

import { get } from "../api";
import { pretty } from "../format";
import { checkpointBefore, type Fork, startFork } from "../model/forks";
import { go, href, route } from "../router";
import { useResource } from "../resource";
import type { Assistant, Run, Thread } from "../types";
import { Button, Id, Problem } from "../ui/basics";
import { parsed, TextArea } from "../ui/fields";

export default function ForkPage() {
  const { path, query } = route.value;
  const [, threadId = "", runId = ""] = path;
  const checkpointId = query.get("checkpoint");
  const load = () => (runId ? ofRun(threadId, runId) : ofCheckpoint(threadId, checkpointId ?? ""));
  const { data: fork, error } = useResource(`${runId}${checkpointId}`, load);
  if (fork === null) return error === null ? <p aria-busy="true">Loading…</p> : <Problem text={error} />;
  return <ForkForm fork={fork} />;
}

async function ofRun(threadId: string, runId: string): Promise<Fork> {
  const run = await get<Run>(`/threads/${threadId}/runs/${runId}`);
  const checkpointId = await checkpointBefore(run);
  const { input, command } = run.kwargs;
  const graphId = typeof run.metadata.graph_id === "string" ? run.metadata.graph_id : null;
  return { threadId, checkpointId, assistantId: run.assistant_id, graphId, input, command, update: null };
}

async function ofCheckpoint(threadId: string, checkpointId: string): Promise<Fork> {
  const { metadata } = await get<Thread>(`/threads/${threadId}`);
  const { assistant_id, graph_id } = await get<Assistant>(`/assistants/${metadata.assistant_id ?? metadata.graph_id}`);
  return {
    threadId,
    checkpointId,
    assistantId: assistant_id,
    graphId: graph_id,
    input: null,
    command: null,
    update: null,
  };
}

function ForkForm({ fork }: { fork: Fork }) {
  const [input, setInput] = useState(fork.input === null ? "" : pretty(fork.input));
  const [update, setUpdate] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const [given, changed] = [parsed(input), parsed(update)];
  const start = async (): Promise<void> => {
    try {
      const run = await startFork({ ...fork, input: given.value, update: changed.value });
      go(["run", run.thread_id, run.run_id]);
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  return (
    <>
      <h1>Fork</h1>
      <p>
        {fork.checkpointId === null ? (
          "The run was the first of its thread: the fork begins in a new thread."
        ) : (
          <>
            A new run of the thread <Id value={fork.threadId} link={href(["thread", fork.threadId])} />, as a branch
            from the checkpoint <Id value={fork.checkpointId} />.
          </>
        )}
      </p>
      <TextArea
        label="Input (JSON)"
        value={input}
        onChange={setInput}
        problem={given.problem}
        hint={fork.command ? "Empty: the run's own command is repeated." : "Empty: the graph continues from the state."}
      />
      <TextArea
        label="Change of the state (JSON)"
        value={update}
        onChange={setUpdate}
        problem={changed.problem}
        hint="Empty: the state stays as it was. Fields are merged as if a node had returned them."
      />
      <Button kind="primary" onClick={start} disabled={given.problem !== null || changed.problem !== null}>
        Start the fork
      </Button>
      <Problem text={problem} />
    </>
  );
}
