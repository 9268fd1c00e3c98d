// Messages of a chat.
import { pretty } from "../format";

const ROLES: Record<string, string> = { human: "You", ai: "Agent", tool: "Tool", system: "System" };

type BubbleProps = {
  type: string;
  name: string | null;
  text: string;
  calls: (string | { name: string; args: unknown })[];
};

export function Bubble({ type, name, text, calls }: BubbleProps) {
  return (
    <article class={`bubble bubble-${type}`}>
      <header>
        {ROLES[type] ?? type}
        {name && <span class="muted"> {name}</span>}
      </header>
      {text && <p>{text}</p>}
      {calls.map((call, place) => (
        <details key={place} class="call">
          <summary>calls {typeof call === "string" ? call : call.name}</summary>
          {typeof call !== "string" && <pre>{pretty(call.args)}</pre>}
        </details>
      ))}
    </article>
  );
}
