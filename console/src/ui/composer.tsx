// The field for the next input of a chat: a text, the fields of the graph's input, or JSON.
import { useState } from "preact/hooks";

import type { InputForm } from "../model/input";
import type { SchemaField } from "../model/schema-fields";
import { Button, Problem } from "./basics";
import { parsed, TextArea } from "./fields";
import { SchemaForm, useSchemaForm } from "./schema-form";

type ComposerProps = { isBusy: boolean; onSend: (input: unknown) => Promise<void> };

export function Composer({ form, ...props }: ComposerProps & { form: InputForm }) {
  const [asJson, setAsJson] = useState(false);
  return (
    <div class="composer">
      {asJson || form.kind === "json" ? (
        <JsonInput {...props} />
      ) : form.kind === "chat" ? (
        <ChatInput {...props} />
      ) : (
        <FieldsInput {...props} fields={form.fields} />
      )}
      {form.kind !== "json" && (
        <label>
          <input type="checkbox" checked={asJson} onChange={(event) => setAsJson(event.currentTarget.checked)} /> Input
          as JSON
        </label>
      )}
    </div>
  );
}

function ChatInput({ isBusy, onSend }: ComposerProps) {
  const [text, setText] = useState("");
  const send = async (): Promise<void> => {
    if (text.trim() === "" || isBusy) return;
    setText("");
    await onSend({ messages: [{ role: "user", content: text }] });
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
      onKeyDown={(event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        void send();
      }}
    >
      <TextArea
        label="Message"
        value={text}
        onChange={setText}
        rows={3}
        hint="Enter sends, Shift and Enter breaks the line."
      />
      <button type="submit" class="primary" disabled={isBusy || text.trim() === ""}>
        Send
      </button>
    </form>
  );
}

function FieldsInput({ isBusy, onSend, fields }: ComposerProps & { fields: SchemaField[] }) {
  const form = useSchemaForm(fields);
  const [problem, setProblem] = useState<string | null>(null);
  const send = async (): Promise<void> => {
    const read = form.read();
    setProblem(read.problem);
    if (read.problem === null) await onSend(read.value);
  };
  return (
    <fieldset>
      <legend>Input</legend>
      <SchemaForm fields={fields} texts={form.texts} setText={form.setText} />
      <Problem text={problem} />
      <Button kind="primary" disabled={isBusy} onClick={send}>
        Run
      </Button>
    </fieldset>
  );
}

function JsonInput({ isBusy, onSend }: ComposerProps) {
  const [text, setText] = useState('{"messages": [{"role": "user", "content": "hello"}]}');
  const { value, problem } = parsed(text);
  return (
    <>
      <TextArea label="Input (JSON)" value={text} onChange={setText} problem={problem} />
      <Button kind="primary" disabled={isBusy || problem !== null} onClick={() => onSend(value)}>
        Run
      </Button>
    </>
  );
}
