// The head of a run's page: its state, why it waits, and what can be done with it.
import { useState } from "preact/hooks";

import { call } from "../../api";
import { count, duration } from "../../format";
import { assistantNames, useAssistants } from "../../model/assistants";
import { asCurl, asJavaScript, asPython } from "../../model/snippets";
import { href } from "../../router";
import type { Run } from "../../types";
import { Button, Copy, Facts, Id, Problem, Status, Time } from "../../ui/basics";
import { Waiting } from "./waiting";

export function RunHead({ run, reload }: { run: Run; reload: () => Promise<void> }) {
  const names = assistantNames(useAssistants());
  return (
    <>
      <div class="title">
        <h1>
          Run <Id value={run.run_id} />
        </h1>
        <Status value={run.status} />
        {run.dead_letter && <span class="note">dead letter</span>}
      </div>
      <Actions run={run} reload={reload} />
      <Facts
        of={[
          ["Assistant", names.get(run.assistant_id) ?? <Id value={run.assistant_id} />],
          ["Thread", <Id value={run.thread_id} link={href(["thread", run.thread_id])} />],
          ["Created", <Time value={run.created_at} />],
          ["Waited", run.started_at ? span(run.created_at, run.started_at) : "not begun"],
          ["Took", run.started_at ? span(run.started_at, run.ended_at) : ""],
          ["Attempts", String(run.attempt)],
          ["Tokens", run.completion ? tokens(run) : ""],
          ["Stopped by", run.cancel_reason ?? ""],
        ]}
      />
      <Waiting run={run} />
      <Problem text={run.error} />
    </>
  );
}

function span(from: string, to: string | null): string {
  return duration((to === null ? Date.now() : Date.parse(to)) - Date.parse(from));
}

function tokens({ completion }: Run): string {
  const { total_input_tokens, total_output_tokens, llm_call_count } = completion!;
  return `${count(total_input_tokens)} in, ${count(total_output_tokens)} out, ${count(llm_call_count)} calls`;
}

function Actions({ run, reload }: { run: Run; reload: () => Promise<void> }) {
  const [problem, setProblem] = useState<string | null>(null);
  const path = `/threads/${run.thread_id}/runs/${run.run_id}`;
  const act = (work: () => Promise<unknown>) => async (): Promise<void> => {
    try {
      setProblem(null);
      await work();
      await reload();
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  const isOver = run.ended_at !== null;
  return (
    <div class="actions">
      {!isOver && (
        <Button kind="danger" onClick={act(() => call("POST", `${path}/cancel`, {}, { wait: "1" }))}>
          Cancel
        </Button>
      )}
      {run.dead_letter && (
        <Button kind="primary" onClick={act(() => call("POST", `${path}/retry`))}>
          Retry
        </Button>
      )}
      {isOver && (
        <a class="button" href={href(["fork", run.thread_id, run.run_id])}>
          Fork
        </a>
      )}
      <Copy label="Copy as curl" text={() => asCurl(run)} />
      <Copy label="Copy as Python" text={() => asPython(run)} />
      <Copy label="Copy as JavaScript" text={() => asJavaScript(run)} />
      <Problem text={problem} />
    </div>
  );
}
