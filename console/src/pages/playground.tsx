// The playground: a chat with any graph on a new thread, with its events on the wire beside it.
import { useEffect, useState } from "preact/hooks";

import { call } from "../api";
import { useAssistants } from "../model/assistants";
import { href, route, setQuery } from "../router";
import { Button, Empty, Id, Problem } from "../ui/basics";
import type { Assistant } from "../types";
import { ChatView } from "../ui/chat";
import { Choice } from "../ui/fields";
import { type WireKind, WIRES } from "../ui/wire";

export default function Playground() {
  const assistants = useAssistants();
  const assistantId = route.value.query.get("assistant") ?? assistants[0]?.assistant_id ?? "";
  const asked = route.value.query.get("wire") ?? "";
  const wire = asked in WIRES ? (asked as WireKind) : "legacy";
  const threadId = route.value.query.get("thread");
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    if (threadId !== null || assistantId === "") return;
    // Of a choice that was replaced meanwhile, the thread is not shown.
    let isCurrent = true;
    newThread(assistants.find((one) => one.assistant_id === assistantId)).then(
      (thread) => isCurrent && setQuery({ assistant: assistantId, thread }),
      (error: Error) => isCurrent && setProblem(error.message),
    );
    return () => {
      isCurrent = false;
    };
  }, [assistantId, threadId]);
  return (
    <>
      <h1>Playground</h1>
      <div class="filters">
        <Choice
          label="Graph or assistant"
          value={assistantId}
          onChange={(assistant) => setQuery({ assistant, thread: "" })}
        >
          {assistants.map((one) => (
            <option key={one.assistant_id} value={one.assistant_id}>
              {one.name}
            </option>
          ))}
        </Choice>
        <Choice label="Wire" value={wire} onChange={(chosen) => setQuery({ wire: chosen })}>
          {Object.entries(WIRES).map(([name, title]) => (
            <option key={name} value={name}>
              {title}
            </option>
          ))}
        </Choice>
        <Button onClick={() => setQuery({ thread: "" })}>New thread</Button>
        {threadId !== null && (
          <span>
            Thread <Id value={threadId} link={href(["thread", threadId])} />
          </span>
        )}
      </div>
      <Problem text={problem} />
      {assistants.length === 0 && <Empty>There is no assistant that you may use.</Empty>}
      {threadId !== null && assistantId !== "" && (
        <ChatView key={threadId} threadId={threadId} assistantId={assistantId} wire={wire} />
      )}
    </>
  );
}

async function newThread(assistant: Assistant | undefined): Promise<string> {
  const metadata = { graph_id: assistant?.graph_id };
  return (await call<{ thread_id: string }>("POST", "/threads", { metadata })).thread_id;
}
