// A chat with a graph: its messages as they are written, its questions, a field for the next input.
import { useEffect, useMemo, useState } from "preact/hooks";

import { respond } from "../model/answers";
import { Chat, reopenAfterAbsence } from "../model/chat";
import { inputFormOf } from "../model/input";
import { useResource } from "../resource";
import { AnswerForm } from "./answer-form";
import { Button, Empty, Problem } from "./basics";
import { Composer } from "./composer";
import { JsonView } from "./json";
import { Bubble } from "./messages";
import { Wire, type WireKind } from "./wire";

type ChatProps = { threadId: string; assistantId: string; wire?: WireKind };

export function ChatView({ threadId, assistantId, wire }: ChatProps) {
  const chat = useMemo(() => new Chat(threadId, assistantId), [threadId, assistantId]);
  const { data: form } = useResource(`input ${assistantId}`, () => inputFormOf(assistantId));
  useEffect(() => {
    void chat.open();
    const forget = reopenAfterAbsence(chat);
    return () => {
      forget();
      chat.close();
    };
  }, [chat]);
  return (
    <div class={wire === undefined ? "" : wire === "both" ? "split split-even" : "split"}>
      <div class="chat">
        <Messages chat={chat} />
        <Questions chat={chat} />
        <Problem text={chat.problem.value} />
        {form !== null && chat.interrupts.value.length === 0 && (
          <Composer form={form} isBusy={chat.runId.value !== null} onSend={(input) => chat.send(input)} />
        )}
        {chat.runId.value !== null && (
          <div class="actions">
            <span role="status">The agent works…</span>
            <Button kind="danger" onClick={() => chat.stop()}>
              Stop
            </Button>
          </div>
        )}
      </div>
      {wire !== undefined && <Wire chat={chat} kind={wire} />}
    </div>
  );
}

function Messages({ chat }: { chat: Chat }) {
  const messages = chat.messages.value;
  if (messages.length === 0 && chat.values.value !== null && Object.keys(chat.values.value as object).length > 0) {
    return <JsonView value={chat.values.value} depth={3} />;
  }
  if (messages.length === 0) return <Empty>Nothing has been said on this thread.</Empty>;
  return (
    <div role="log" aria-label="Messages">
      {messages.map((message) => (
        <Bubble key={message.id} type={message.type} name={message.name} text={message.text} calls={message.calls} />
      ))}
    </div>
  );
}

function Questions({ chat }: { chat: Chat }) {
  const [problem, setProblem] = useState<string | null>(null);
  const answer = async (interruptId: string, value: unknown): Promise<void> => {
    try {
      setProblem(null);
      await chat.join(await respond(chat.threadId, new Map([[interruptId, value]])));
    } catch (error) {
      setProblem((error as Error).message);
      await chat.open();
    }
  };
  return (
    <>
      {chat.interrupts.value.map((interrupt) => (
        <section key={interrupt.id} class="card" aria-label="Question">
          <h2>The agent asks</h2>
          <AnswerForm interrupt={interrupt} onAnswer={(value) => answer(interrupt.id, value)} />
        </section>
      ))}
      <Problem text={problem} />
    </>
  );
}
