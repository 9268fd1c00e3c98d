// A chat made as DeerFlow's is: the useStream of the SDK that it pins, on a client that recovers from gaps.
import { Client } from "langgraph-sdk-1.6";
import { useStream } from "langgraph-sdk-1.6/react";

import { recovering } from "../deerflow/client.mjs";
import { Chat, asked, show, textOf, useThread } from "./chat.jsx";

const client = recovering(new Client({ apiUrl: asked.api, apiKey: null }));

function Page() {
  const [threadId, onThreadId] = useThread();
  const stream = useStream({
    client,
    assistantId: asked.assistant,
    threadId,
    onThreadId,
    reconnectOnMount: true,
    fetchStateHistory: { limit: 1 },
    throttle: true,
    onUpdateEvent: () => {},
    onCustomEvent: (event) => {
      if (event.type === "stream_replay_gap") window.gaps = (window.gaps ?? 0) + 1;
    },
  });
  const messages = stream.messages.map(({ id, type, content }) => ({ id, type, text: textOf(content) }));
  return (
    <Chat
      messages={messages}
      isBusy={stream.isLoading}
      error={stream.error}
      onSend={(text) =>
        stream.submit(
          { messages: [{ type: "human", content: [{ type: "text", text }] }] },
          { streamResumable: true, config: { recursion_limit: 1000 }, context: { thinking_enabled: false } },
        )
      }
      onStop={() => stream.stop()}
    />
  );
}

show(<Page />);
