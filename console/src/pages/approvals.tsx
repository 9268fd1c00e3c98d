// What waits for a human: the open approvals of all threads, the longest waiting first.
import { useState } from "preact/hooks";

import { ApiError, call, get, getPage } from "../api";
import { counted } from "../format";
import { reviewOf } from "../model/answers";
import { href, route, setQuery } from "../router";
import { useResource } from "../resource";
import type { Approval, ApprovalEvent, Interrupt } from "../types";
import { AnswerForm } from "../ui/answer-form";
import { Button, Empty, Id, Problem, Time } from "../ui/basics";
import { TextField } from "../ui/fields";

const POLL_MS = 3_000;
const LIMIT = 100;

type Notice = { text: string; link: string[] | null };
type Act = (approval: Approval, what: "answer" | "delegate" | "comments", body: unknown) => Promise<void>;

export default function Approvals() {
  const only = route.value.query.get("thread") ?? "";
  const { data, error, reload } = useResource(`approvals ${only}`, () => waiting(only), POLL_MS);
  const [notice, setNotice] = useState<Notice | null>(null);
  const act: Act = async (approval, what, body) => {
    try {
      const done = await call<Approval>("POST", `/approvals/${approval.approval_id}/${what}`, body);
      const link = what === "answer" ? ["run", done.thread_id, done.answer_run_id!] : null;
      setNotice({ text: { answer: "Answered.", delegate: "Delegated.", comments: "Commented." }[what], link });
      await reload();
    } catch (problem) {
      const isConflict = problem instanceof ApiError && problem.status === 409;
      const text = (problem as Error).message;
      setNotice({ text: isConflict ? `Another decision was faster. ${text}` : text, link: null });
      if (isConflict) await reload();
    }
  };
  return (
    <>
      <div class="title">
        <h1>Approvals</h1>
        {data !== null && <span class="muted">{counted(data.total, "question")} waiting</span>}
        {only !== "" && <Button onClick={() => setQuery({ thread: "" })}>Show all threads</Button>}
      </div>
      <Problem text={error} />
      {notice !== null && (
        <p class="banner" role="status">
          {notice.text}
          {notice.link !== null && <a href={href(notice.link)}>See the run that continues</a>}
        </p>
      )}
      {data !== null && <ApproveAll approvals={data.items} onAct={act} />}
      {data?.items.length === 0 && <Empty>No thread waits for an answer.</Empty>}
      {data?.items.map((approval) => (
        <Waiting key={approval.approval_id} approval={approval} onAct={act} />
      ))}
    </>
  );
}

function waiting(threadId: string): Promise<{ items: Approval[]; total: number }> {
  return getPage<Approval>("/approvals", { thread_id: threadId, limit: LIMIT });
}

function interruptOf({ interrupt_id, question, response_schema }: Approval): Interrupt {
  return { id: interrupt_id, value: question, response_schema: response_schema ?? undefined };
}

type WaitingProps = { approval: Approval; onAct: Act };

function Waiting({ approval, onAct }: WaitingProps) {
  return (
    <section class="card" aria-label={`Thread ${approval.thread_id}`}>
      <header class="row">
        <h2>{approval.graph_id || "Thread"}</h2>
        <span>
          <Id value={approval.thread_id} link={href(["thread", approval.thread_id])} /> asked{" "}
          <Time value={approval.created_at} />
          {approval.deadline_at !== null && (
            <>
              {", "}
              {"default" in approval ? "answered by default" : "expires"} <Time value={approval.deadline_at} />
            </>
          )}
        </span>
      </header>
      <AnswerForm interrupt={interruptOf(approval)} onAnswer={(answer) => onAct(approval, "answer", { answer })} />
      <More approval={approval} onAct={onAct} />
    </section>
  );
}

/** The delegate and the comments of an approval, read when they are opened. */
function More({ approval, onAct }: WaitingProps) {
  const [isOpen, setOpen] = useState(false);
  const [user, setUser] = useState(approval.delegate ?? "");
  const [text, setText] = useState("");
  const comment = async (): Promise<void> => {
    await onAct(approval, "comments", { text });
    setText("");
  };
  return (
    <details onToggle={(event) => setOpen((event.target as HTMLDetailsElement).open)}>
      <summary>{approval.delegate === null ? "Delegate or comment" : `Delegated to ${approval.delegate}`}</summary>
      {isOpen && (
        <>
          <History key={approval.updated_at} approval={approval} />
          <TextField label="Delegate to (user)" value={user} onChange={setUser} />
          <Button onClick={() => onAct(approval, "delegate", { user_id: user || null })}>Delegate</Button>
          <TextField label="Comment" value={text} onChange={setText} />
          <Button disabled={text === ""} onClick={comment}>
            Comment
          </Button>
        </>
      )}
    </details>
  );
}

function History({ approval }: { approval: Approval }) {
  const { data, error } = useResource(`approval ${approval.approval_id} ${approval.updated_at}`, () =>
    get<{ events: ApprovalEvent[] }>(`/approvals/${approval.approval_id}`),
  );
  return (
    <>
      <Problem text={error} />
      <ul>
        {data?.events.map((event) => (
          <li key={event.number}>
            <Time value={event.at} /> {event.kind}
            {event.user_id !== null && ` by ${event.user_id}`}
            {typeof event.details.comment === "string" && `: ${event.details.comment}`}
          </li>
        ))}
      </ul>
    </>
  );
}

/** Approves every action of every approval that may be approved as it is. */
function ApproveAll({ approvals, onAct }: { approvals: Approval[]; onAct: Act }) {
  const approvable = approvals.filter(
    (one) => reviewOf(interruptOf(one))?.allowed.every((allowed) => allowed.includes("approve")) ?? false,
  );
  if (approvable.length < 2) return null;
  const approve = async (): Promise<void> => {
    if (!confirm(`Approve ${approvable.length} questions?`)) return;
    for (const one of approvable) {
      const decisions = reviewOf(interruptOf(one))!.actions.map(() => ({ type: "approve" }));
      await onAct(one, "answer", { answer: { decisions } });
    }
  };
  return <Button onClick={approve}>Approve all {approvable.length}</Button>;
}
