// assistant-ui with its LangGraph runtime: run streams.
import {
  AssistantRuntimeProvider,
  ComposerPrimitive,
  MessagePrimitive,
  ThreadPrimitive,
  useAui,
  useAuiState,
} from "@assistant-ui/react";
import {
  unstable_createLangGraphStream as createStream,
  useLangGraphInterruptState,
  useLangGraphRuntime,
  useLangGraphSendCommand,
} from "@assistant-ui/react-langgraph";
import { Client } from "@langchain/langgraph-sdk";
import { useMemo } from "react";

import { asked, show, useSeen, useThread } from "./chat.jsx";

const client = new Client({ apiUrl: asked.api, apiKey: null });

/** The state of a thread, once the run that is at work on it has ended: this client cannot join a stream. */
async function load(threadId) {
  const [run] = await client.runs.list(threadId, { status: "running", limit: 1 });
  if (run) await client.runs.join(threadId, run.run_id);
  const state = await client.threads.getState(threadId);
  return { messages: state.values.messages ?? [], interrupts: state.tasks.flatMap((task) => task.interrupts) };
}

function Page() {
  const [threadId, remember] = useThread();
  const stream = useMemo(
    () => createStream({ client, assistantId: asked.assistant, onDisconnect: asked.leaving ?? "cancel" }),
    [],
  );
  const runtime = useLangGraphRuntime({
    stream,
    unstable_allowCancellation: true,
    create: async () => {
      const { thread_id: externalId } = await client.threads.create();
      remember(externalId);
      return { externalId };
    },
    load,
    unstable_threadListAdapter: useMemo(() => threadOf(threadId, remember), []),
    initialThreadId: threadId ?? undefined,
  });
  return (
    <AssistantRuntimeProvider runtime={runtime}>
      <Thread />
    </AssistantRuntimeProvider>
  );
}

/** A list with the one thread that the page's address names. */
function threadOf(threadId, remember) {
  const item = (id) => ({ status: "regular", remoteId: id, externalId: id });
  return {
    list: async () => ({ threads: threadId ? [item(threadId)] : [] }),
    fetch: async (id) => item(id),
    initialize: async () => {
      const { thread_id: id } = await client.threads.create();
      remember(id);
      return { remoteId: id, externalId: id };
    },
    rename: async () => {},
    archive: async () => {},
    unarchive: async () => {},
    delete: async () => {},
    generateTitle: async () => new ReadableStream({ start: (title) => title.close() }),
  };
}

function Thread() {
  const isBusy = useAuiState((state) => state.thread.isRunning);
  const aui = useAui();
  return (
    <ThreadPrimitive.Root data-busy={isBusy}>
      <ol>
        <ThreadPrimitive.Messages components={{ Message }} />
      </ol>
      <Question />
      <button className="send" onClick={() => aui.thread.append(asked.say ?? "hello")}>
        Send
      </button>
      <ComposerPrimitive.Cancel className="stop">Stop</ComposerPrimitive.Cancel>
    </ThreadPrimitive.Root>
  );
}

function Message() {
  const type = useAuiState((state) => (state.message.role === "user" ? "human" : "ai"));
  const parts = useAuiState((state) => state.message.parts);
  useSeen(type, parts.findLast((part) => part.type === "text")?.text);
  return (
    <MessagePrimitive.Root asChild>
      <li className={type}>
        {parts.map((part, place) =>
          part.type === "tool-call" ? (
            <code key={place} className="call">
              {part.toolName}({JSON.stringify(part.args)}) {part.result && "done"}
            </code>
          ) : (
            <span key={place} className="text">
              {part.text}
            </span>
          ),
        )}
      </li>
    </MessagePrimitive.Root>
  );
}

function Question() {
  const interrupt = useLangGraphInterruptState();
  const send = useLangGraphSendCommand();
  if (!interrupt) return null;
  return (
    <p className="question">
      {JSON.stringify(interrupt.value)}
      <button className="approve" onClick={() => send({ resume: { decisions: [{ type: "approve" }] } })}>
        Approve
      </button>
    </p>
  );
}

show(<Page />);
