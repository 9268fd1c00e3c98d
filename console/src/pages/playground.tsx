// The playground: a chat with any graph on a new thread, with its events on the wire beside it.
import { useEffect } from "preact/hooks";

import { call } from "../api";
import { useAssistants } from "../model/assistants";
import { href, route, setQuery } from "../router";
import { Button, Empty, Id } from "../ui/basics";
import { ChatView } from "../ui/chat";
import { Choice } from "../ui/fields";

export default function Playground() {
  const assistants = useAssistants();
  const assistantId = route.value.query.get("assistant") ?? assistants[0]?.assistant_id ?? "";
  const threadId = route.value.query.get("thread");
  const begin = async (assistant: string): Promise<void> => {
    const graphId = assistants.find((one) => one.assistant_id === assistant)?.graph_id;
    const { thread_id } = await call<{ thread_id: string }>("POST", "/threads", { metadata: { graph_id: graphId } });
    setQuery({ assistant, thread: thread_id });
  };
  useEffect(() => {
    if (threadId === null && assistantId !== "") void begin(assistantId);
  }, [assistantId, threadId]);
  return (
    <>
      <h1>Playground</h1>
      <div class="filters">
        <Choice label="Graph or assistant" value={assistantId} onChange={begin}>
          {assistants.map((one) => (
            <option key={one.assistant_id} value={one.assistant_id}>
              {one.name}
            </option>
          ))}
        </Choice>
        <Button onClick={() => begin(assistantId)}>New thread</Button>
        {threadId !== null && (
          <span>
            Thread <Id value={threadId} link={href(["thread", threadId])} />
          </span>
        )}
      </div>
      {assistants.length === 0 && <Empty>There is no assistant that you may use.</Empty>}
      {threadId !== null && assistantId !== "" && (
        <ChatView key={threadId} threadId={threadId} assistantId={assistantId} hasWire />
      )}
    </>
  );
}
