// What every page shows, whichever client it is made with: the tests read it by these classes.
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

export const asked = Object.fromEntries(new URLSearchParams(location.search));

export function show(page) {
  createRoot(document.getElementById("root")).render(page);
}

/** The thread of this tab: the one in its address, which also survives a reload. */
export function useThread() {
  const [threadId, setThreadId] = useState(asked.thread ?? null);
  const remember = (id) => {
    const place = new URL(location.href);
    place.searchParams.set("thread", id);
    history.replaceState(null, "", place);
    setThreadId(id);
  };
  return [threadId, remember];
}

/** `messages`: {id, type, text, calls}; `question`: what a human is asked, if anything. */
export function Chat({ messages, question, isBusy, error, onSend, onStop, onAnswer }) {
  return (
    <main data-busy={isBusy}>
      <ol>
        {messages.map((message, place) => (
          <Message key={message.id ?? place} {...message} />
        ))}
      </ol>
      {question && (
        <p className="question">
          {JSON.stringify(question)}
          <button className="approve" onClick={() => onAnswer({ decisions: [{ type: "approve" }] })}>
            Approve
          </button>
        </p>
      )}
      {error && <p className="error">{String(error)}</p>}
      <button className="send" onClick={() => onSend(asked.say ?? "hello")}>
        Send
      </button>
      <button className="stop" onClick={onStop}>
        Stop
      </button>
    </main>
  );
}

export function Message({ type, text, calls = [] }) {
  useSeen(type, text);
  return (
    <li className={type}>
      <span className="text">{text}</span>
      {calls.map((call) => (
        <code key={call.id} className="call">
          {call.name}({JSON.stringify(call.args)}) {call.result ?? ""}
        </code>
      ))}
    </li>
  );
}

/** Keeps every text that an answer has had on the screen, so that a test can tell how it grew. */
export function useSeen(type, text) {
  useEffect(() => {
    if (type === "ai" && text) (window.seen ??= []).push(text);
  }, [type, text]);
}

export function textOf(content) {
  if (typeof content === "string") return content;
  return content.map((block) => block.text ?? "").join("");
}
