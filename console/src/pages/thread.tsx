// One thread: its chat, its state, its checkpoints, its runs.
import { useState } from "preact/hooks";

import { call, get, getPage } from "../api";
import { bytes } from "../format";
import { go, href, route } from "../router";
import { useResource } from "../resource";
import type { Run, Thread, ThreadState } from "../types";
import { Button, Empty, Facts, Id, Problem, Status, Time } from "../ui/basics";
import { ChatView } from "../ui/chat";
import { JsonView } from "../ui/json";
import { Tabs } from "../ui/tabs";
import { Files } from "./thread/files";
import { History } from "./thread/history";

const TABS = ["Chat", "State", "History", "Runs", "Files"] as const;
const POLL_MS = 2_000;
const LIMIT = 100;

export default function ThreadPage() {
  const [, threadId = ""] = route.value.path;
  const path = `/threads/${threadId}`;
  const { data: thread, error } = useResource(path, () => get<Thread>(path), POLL_MS);
  const [tab, setTab] = useState<(typeof TABS)[number]>("Chat");
  if (thread === null) return error === null ? <p aria-busy="true">Loading…</p> : <Problem text={error} />;
  return (
    <>
      <Head thread={thread} />
      <Tabs label="Parts of the thread" names={TABS} chosen={tab} onChoose={setTab}>
        {tab === "Chat" && <ThreadChat thread={thread} />}
        {tab === "State" && <State threadId={threadId} />}
        {tab === "History" && <History threadId={threadId} updatedAt={thread.updated_at} />}
        {tab === "Runs" && <Runs threadId={threadId} />}
        {tab === "Files" && <Files threadId={threadId} />}
      </Tabs>
    </>
  );
}

function Head({ thread }: { thread: Thread }) {
  const [problem, setProblem] = useState<string | null>(null);
  const path = `/threads/${thread.thread_id}`;
  const { data: size } = useResource(`${path}/storage ${thread.updated_at}`, () =>
    get<{ total_bytes: number }>(`${path}/storage`),
  );
  const remove = async (): Promise<void> => {
    if (!confirm("Delete this thread with its runs, states and files?")) return;
    try {
      await call("DELETE", path);
      go(["threads"]);
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  const { title, graph_id } = thread.metadata;
  return (
    <>
      <div class="title">
        <h1>{typeof title === "string" ? title : "Thread"}</h1>
        <Status value={thread.status} />
      </div>
      <div class="actions">
        <Button kind="danger" onClick={remove}>
          Delete
        </Button>
        <Problem text={problem} />
      </div>
      <Facts
        of={[
          ["Thread", <Id value={thread.thread_id} />],
          ["Graph", String(graph_id ?? "")],
          ["Created", <Time value={thread.created_at} />],
          ["Updated", <Time value={thread.updated_at} />],
          ["States", size === null ? "" : bytes(size.total_bytes)],
        ]}
      />
      <Problem
        text={thread.error === null ? null : [thread.error.error, thread.error.message].filter(Boolean).join(": ")}
      />
    </>
  );
}

function ThreadChat({ thread }: { thread: Thread }) {
  const assistant = thread.metadata.assistant_id ?? thread.metadata.graph_id;
  if (typeof assistant !== "string") return <Empty>No run has been started on this thread yet.</Empty>;
  return <ChatView threadId={thread.thread_id} assistantId={assistant} />;
}

function State({ threadId }: { threadId: string }) {
  const path = `/threads/${threadId}/state`;
  const { data, error } = useResource(path, () => get<ThreadState>(path), POLL_MS);
  return (
    <>
      <Problem text={error} />
      {data !== null && <JsonView value={data} depth={3} />}
    </>
  );
}

function Runs({ threadId }: { threadId: string }) {
  const path = `/threads/${threadId}/runs`;
  const select = ["run_id", "status", "created_at", "error", "attempt"];
  const { data, error } = useResource(path, () => getPage<Run>(path, { limit: LIMIT, select }), POLL_MS);
  return (
    <>
      <Problem text={error} />
      {data?.items.length === 0 && <Empty>No run has been started on this thread yet.</Empty>}
      <ul class="list">
        {data?.items.map((run) => (
          <li key={run.run_id}>
            <Status value={run.status} /> <Id value={run.run_id} link={href(["run", threadId, run.run_id])} />{" "}
            <Time value={run.created_at} /> <span class="invalid">{run.error}</span>
          </li>
        ))}
      </ul>
    </>
  );
}
