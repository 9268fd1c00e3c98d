// The reason why a run does not go on: its time, another run of its thread, the slots, a lost worker, or a question.
import { get } from "../../api";
import { counted, shortId } from "../../format";
import { href } from "../../router";
import { useResource } from "../../resource";
import type { Run, Thread } from "../../types";
import { Id, Time } from "../../ui/basics";

const POLL_MS = 2_000;

type Reason =
  | { kind: "delayed"; until: string }
  | { kind: "thread"; run_id: string }
  | { kind: "worker"; run_id: string; worker: string; until: string }
  | { kind: "slots"; runs: { run_id: string; thread_id: string }[] };
type WaitingRun = { slots: number; slots_in_use: number; reasons: Reason[] };

export function Waiting({ run }: { run: Run }) {
  if (run.ended_at === null) return <Reasons run={run} />;
  return run.status === "success" ? <Question run={run} /> : null;
}

function Question({ run }: { run: Run }) {
  const path = `/threads/${run.thread_id}`;
  const { data: thread } = useResource(`question ${run.run_id}`, () => get<Thread>(path));
  const isAsking = thread?.status === "interrupted" && Object.keys(thread.interrupts).length > 0;
  return isAsking ? (
    <p class="banner" role="status">
      Its thread waits for an answer. <a href={href(["approvals"], { thread: run.thread_id })}>Answer it</a>
    </p>
  ) : null;
}

function Reasons({ run }: { run: Run }) {
  const path = `/threads/${run.thread_id}/runs/${run.run_id}/waiting`;
  const { data } = useResource(path, () => get<WaitingRun>(path), POLL_MS);
  if (data === null || data.reasons.length === 0) return null;
  return (
    <div class="banner" role="status">
      {data.reasons.map((reason) => (
        <p key={reason.kind}>
          <ReasonText reason={reason} run={run} waiting={data} />
        </p>
      ))}
    </div>
  );
}

function ReasonText({ reason, run, waiting }: { reason: Reason; run: Run; waiting: WaitingRun }) {
  switch (reason.kind) {
    case "delayed":
      return (
        <>
          It is delayed until {new Date(reason.until).toLocaleString()}, <Time value={reason.until} />.
        </>
      );
    case "thread":
      return (
        <>
          It waits until the thread's run{" "}
          <Id value={reason.run_id} link={href(["run", run.thread_id, reason.run_id])} /> has ended.
        </>
      );
    case "worker":
      return (
        <>
          The worker <code>{reason.worker}</code> of run {shortId(reason.run_id)} is silent. Its lease ends{" "}
          <Time value={reason.until} />, at {new Date(reason.until).toLocaleTimeString()}; then another worker takes the
          run over.
        </>
      );
    case "slots":
      return (
        <>
          Its thread is free: it waits for a slot. {counted(waiting.slots_in_use, "run")}{" "}
          {waiting.slots_in_use === 1 ? "is" : "are"} executed
          {waiting.slots > 0 && `; this server executes ${waiting.slots} at once`}.
          {reason.runs.length > 0 && " Of yours: "}
          {reason.runs.map((one, place) => (
            <span key={one.run_id}>
              {place > 0 && ", "}
              <Id value={one.run_id} link={href(["run", one.thread_id, one.run_id])} />
            </span>
          ))}
        </>
      );
  }
}
