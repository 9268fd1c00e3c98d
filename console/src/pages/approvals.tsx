// What waits for a human: the open interrupts of all threads, the longest waiting first.
import { useState } from "preact/hooks";

import { search } from "../api";
import { counted } from "../format";
import { AnsweredAlready, respond, reviewOf } from "../model/answers";
import { href, route, setQuery } from "../router";
import { useResource } from "../resource";
import type { Interrupt, Thread } from "../types";
import { AnswerForm } from "../ui/answer-form";
import { Button, Empty, Id, Problem, Time } from "../ui/basics";

const POLL_MS = 3_000;
const LIMIT = 100;

type Notice = { threadId: string; text: string; runId: string | null };

export default function Approvals() {
  const only = route.value.query.get("thread") ?? "";
  const { data, error, reload } = useResource(`approvals ${only}`, () => waiting(only), POLL_MS);
  const [notice, setNotice] = useState<Notice | null>(null);
  const answer = async (threadId: string, answers: Map<string, unknown>): Promise<void> => {
    try {
      setNotice({ threadId, text: "Answered.", runId: await respond(threadId, answers) });
      await reload();
    } catch (problem) {
      setNotice({ threadId, text: (problem as Error).message, runId: null });
      if (problem instanceof AnsweredAlready) await reload();
    }
  };
  return (
    <>
      <div class="title">
        <h1>Approvals</h1>
        {data !== null && <span class="muted">{counted(data.length, "thread")} waiting</span>}
        {only !== "" && <Button onClick={() => setQuery({ thread: "" })}>Show all threads</Button>}
      </div>
      <Problem text={error} />
      {notice !== null && (
        <p class="banner" role="status">
          {notice.text}
          {notice.runId !== null && (
            <a href={href(["run", notice.threadId, notice.runId])}>See the run that continues</a>
          )}
        </p>
      )}
      {data !== null && <ApproveAll threads={data} onAnswer={answer} />}
      {data?.length === 0 && <Empty>No thread waits for an answer.</Empty>}
      {data?.map((thread) => (
        <Waiting key={thread.thread_id} thread={thread} onAnswer={(answers) => answer(thread.thread_id, answers)} />
      ))}
    </>
  );
}

async function waiting(threadId: string): Promise<Thread[]> {
  const { items } = await search<Thread>("/threads/search", {
    status: "interrupted",
    ids: threadId === "" ? null : [threadId],
    limit: LIMIT,
    sort_by: "updated_at",
    sort_order: "asc",
    select: ["thread_id", "metadata", "updated_at", "interrupts"],
  });
  return items.filter((thread) => interruptsOf(thread).length > 0);
}

function interruptsOf(thread: Thread): Interrupt[] {
  return Object.values(thread.interrupts).flat();
}

type WaitingProps = { thread: Thread; onAnswer: (answers: Map<string, unknown>) => Promise<void> };

function Waiting({ thread, onAnswer }: WaitingProps) {
  const { title, graph_id } = thread.metadata;
  return (
    <section class="card" aria-label={`Thread ${thread.thread_id}`}>
      <header class="row">
        <h2>{typeof title === "string" ? title : String(graph_id ?? "Thread")}</h2>
        <span>
          <Id value={thread.thread_id} link={href(["thread", thread.thread_id])} /> asked{" "}
          <Time value={thread.updated_at} />
        </span>
      </header>
      {interruptsOf(thread).map((interrupt) => (
        <AnswerForm
          key={interrupt.id}
          interrupt={interrupt}
          onAnswer={(answer) => onAnswer(new Map([[interrupt.id, answer]]))}
        />
      ))}
    </section>
  );
}

type AllProps = { threads: Thread[]; onAnswer: (threadId: string, answers: Map<string, unknown>) => Promise<void> };

/** Approves every action of every thread that may be approved as it is. */
function ApproveAll({ threads, onAnswer }: AllProps) {
  const approvable = threads.filter((thread) =>
    interruptsOf(thread).every(
      (one) => reviewOf(one)?.allowed.every((allowed) => allowed.includes("approve")) ?? false,
    ),
  );
  if (approvable.length < 2) return null;
  const approve = async (): Promise<void> => {
    if (!confirm(`Approve what ${approvable.length} threads want to do?`)) return;
    for (const thread of approvable) await onAnswer(thread.thread_id, approvals(thread));
  };
  return <Button onClick={approve}>Approve all {approvable.length}</Button>;
}

function approvals(thread: Thread): Map<string, unknown> {
  const approved = (one: Interrupt) => ({ decisions: reviewOf(one)!.actions.map(() => ({ type: "approve" })) });
  return new Map(interruptsOf(thread).map((one) => [one.id, approved(one)]));
}
