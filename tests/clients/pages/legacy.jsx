// The older useStream, of @langchain/langgraph-sdk/react: run streams. agent-chat-ui is made with it.
import { useStream } from "@langchain/langgraph-sdk/react";

import { Chat, asked, show, textOf, useThread } from "./chat.jsx";

function Page() {
  const [threadId, onThreadId] = useThread();
  const stream = useStream({
    assistantId: asked.assistant,
    apiUrl: asked.api,
    apiKey: null,
    threadId,
    onThreadId,
    fetchStateHistory: true,
    // Shared by the tabs of a browser; `true` would be this tab's own.
    reconnectOnMount: () => localStorage,
  });
  const messages = stream.messages.map((message) => ({
    id: message.id,
    type: message.type,
    text: textOf(message.content),
    calls: stream.getToolCalls(message).map(({ id, call, result }) => ({ ...call, id, result: result && "done" })),
  }));
  return (
    <Chat
      messages={messages}
      question={stream.interrupt?.value}
      isBusy={stream.isLoading}
      error={stream.error}
      onSend={(content) => stream.submit({ messages: [{ type: "human", content }] })}
      onStop={() => stream.stop()}
      onAnswer={(resume) => stream.submit(undefined, { command: { resume } })}
    />
  );
}

show(<Page />);
