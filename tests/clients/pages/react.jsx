// useStream of @langchain/react: the event protocol, over SSE or a WebSocket.
import { useStream } from "@langchain/react";

import { Chat, asked, show, useThread } from "./chat.jsx";

function Page() {
  const [threadId, onThreadId] = useThread();
  const stream = useStream({
    assistantId: asked.assistant,
    apiUrl: asked.api,
    apiKey: null,
    transport: asked.transport,
    threadId,
    onThreadId,
  });
  const results = new Map(stream.toolCalls.map((call) => [call.id, call.output]));
  const messages = stream.messages.map((message) => ({
    id: message.id,
    type: message.type,
    text: message.text,
    calls: (message.tool_calls ?? []).map((call) => ({ ...call, result: results.get(call.id) && "done" })),
  }));
  return (
    <Chat
      messages={messages}
      question={stream.interrupt?.value}
      isBusy={stream.isLoading}
      error={stream.error}
      onSend={(content) => stream.submit({ messages: [{ type: "human", content }] })}
      onStop={() => stream.stop()}
      // By its id: without one the hook knows of no question until its stream has told it again.
      onAnswer={(answer) => stream.respond(answer, { interruptId: stream.interrupt.id })}
    />
  );
}

show(<Page />);
