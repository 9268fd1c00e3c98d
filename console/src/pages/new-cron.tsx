// The form for a new schedule.
import { useState } from "preact/hooks";

import { call } from "../api";
import { useAssistants } from "../model/assistants";
import { Button, Problem } from "../ui/basics";
import { Choice, parsed, TextArea, TextField } from "../ui/fields";

export function NewCron({ onCreated }: { onCreated: () => Promise<void> }) {
  const assistants = useAssistants();
  const [assistant, setAssistant] = useState("");
  const [schedule, setSchedule] = useState("0 9 * * *");
  const [input, setInput] = useState('{"messages": [{"role": "user", "content": "hello"}]}');
  const [problem, setProblem] = useState<string | null>(null);
  const read = parsed(input);
  const create = async (): Promise<void> => {
    try {
      setProblem(null);
      const assistant_id = assistant || assistants[0]?.assistant_id;
      await call("POST", "/runs/crons", { assistant_id, schedule, input: read.value, on_run_completed: "keep" });
      await onCreated();
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  return (
    <details class="card">
      <summary>New cron</summary>
      <Choice
        label="Graph or assistant"
        value={assistant || (assistants[0]?.assistant_id ?? "")}
        onChange={setAssistant}
      >
        {assistants.map((one) => (
          <option key={one.assistant_id} value={one.assistant_id}>
            {one.name}
          </option>
        ))}
      </Choice>
      <TextField
        label="Schedule"
        value={schedule}
        onChange={setSchedule}
        hint="Minute, hour, day, month, weekday, in UTC."
      />
      <TextArea label="Input (JSON)" value={input} onChange={setInput} rows={3} problem={read.problem} />
      <Problem text={problem} />
      <Button kind="primary" disabled={read.problem !== null} onClick={create}>
        Create
      </Button>
    </details>
  );
}
