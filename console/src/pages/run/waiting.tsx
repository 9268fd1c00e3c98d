// The reason why a run does not go on: another run of its thread, a full queue, or a question to a human.
import { get, getPage } from "../../api";
import { href } from "../../router";
import { useResource } from "../../resource";
import type { Run, Thread } from "../../types";
import { Id } from "../../ui/basics";

const POLL_MS = 2_000;

export function Waiting({ run }: { run: Run }) {
  if (run.status === "pending") return <Pending run={run} />;
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

function Pending({ run }: { run: Run }) {
  const { data } = useResource(
    `waiting ${run.run_id}`,
    async () => {
      const [same, all] = await Promise.all([
        getPage<Run>(`/threads/${run.thread_id}/runs`, { status: "running", select: ["run_id", "thread_id"] }),
        getPage<Run>("/runs", { status: "running", limit: 1, select: ["run_id"] }),
      ]);
      return { before: same.items[0] ?? null, running: all.total };
    },
    POLL_MS,
  );
  if (data === null) return null;
  return (
    <p class="banner" role="status">
      {data.before !== null ? (
        <>
          It waits until the thread's run{" "}
          <Id value={data.before.run_id} link={href(["run", run.thread_id, data.before.run_id])} /> has ended.
        </>
      ) : (
        `Its thread is free: it waits for its time, or for a worker. ${data.running} of your runs are running.`
      )}
    </p>
  );
}
