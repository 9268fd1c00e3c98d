// The form that answers one interrupt: a review of actions, the fields of its response_schema, or JSON.
import { useState } from "preact/hooks";

import { pretty } from "../format";
import { type ActionRequest, answerOf, type Decision, type Given, type Review, reviewOf } from "../model/answers";
import { fieldsOf, type SchemaField } from "../model/schema-fields";
import type { Interrupt } from "../types";
import { Button, Problem } from "./basics";
import { parsed, TextArea, TextField } from "./fields";
import { JsonView } from "./json";
import { SchemaForm, useSchemaForm } from "./schema-form";

type AnswerProps = { interrupt: Interrupt; onAnswer: (answer: unknown) => Promise<void> };

export function AnswerForm({ interrupt, onAnswer }: AnswerProps) {
  const review = reviewOf(interrupt);
  const fields = fieldsOf(interrupt.response_schema);
  if (review !== null) return <ReviewForm review={review} onAnswer={onAnswer} />;
  return (
    <>
      <JsonView value={interrupt.value} depth={3} />
      {fields === null ? <FreeForm onAnswer={onAnswer} /> : <FieldsForm fields={fields} onAnswer={onAnswer} />}
    </>
  );
}

function ReviewForm({ review: { actions, allowed }, onAnswer }: { review: Review; onAnswer: AnswerProps["onAnswer"] }) {
  const [given, setGiven] = useState<(Given | null)[]>(() => actions.map(() => null));
  const isComplete = given.every((one) => one !== null);
  const decide = (place: number, one: Given): Promise<void> | void => {
    const next = given.map((before, at) => (at === place ? one : before));
    setGiven(next);
    // A single action is answered by its button.
    if (actions.length === 1) return onAnswer(answerOf(actions, next as Given[]));
  };
  return (
    <>
      {actions.map((action, place) => (
        <ActionForm
          key={place}
          action={action}
          allowed={allowed[place]!}
          chosen={given[place]?.decision ?? null}
          onDecide={(one) => decide(place, one)}
        />
      ))}
      {actions.length > 1 && (
        <Button kind="primary" disabled={!isComplete} onClick={() => onAnswer(answerOf(actions, given as Given[]))}>
          Send {actions.length} decisions
        </Button>
      )}
    </>
  );
}

const VERBS: Record<Decision, string> = {
  approve: "Approve",
  edit: "Approve with changes",
  reject: "Reject",
  respond: "Answer in its place",
};

type ActionProps = {
  action: ActionRequest;
  allowed: Decision[];
  chosen: Decision | null;
  onDecide: (given: Given) => Promise<void> | void;
};

function ActionForm({ action, allowed, chosen, onDecide }: ActionProps) {
  const [args, setArgs] = useState(pretty(action.args));
  const [message, setMessage] = useState("");
  const read = parsed(args);
  const isChanged = args !== pretty(action.args);
  // Changed arguments are not approved as they were, nor unchanged ones as changed.
  const isPossible: Record<Decision, boolean> = {
    approve: !isChanged,
    edit: isChanged && read.problem === null,
    reject: true,
    respond: true,
  };
  return (
    <fieldset>
      <legend>
        <code>{action.name}</code>
      </legend>
      {action.description && <p>{action.description}</p>}
      {allowed.includes("edit") ? (
        <TextArea label="Arguments (JSON)" value={args} onChange={setArgs} problem={read.problem} />
      ) : (
        <JsonView value={action.args} depth={3} />
      )}
      {(allowed.includes("reject") || allowed.includes("respond")) && (
        <TextField label="Reason or answer (optional)" value={message} onChange={setMessage} />
      )}
      <div class="actions">
        {allowed.map((decision) => (
          <Button
            key={decision}
            kind={decision === "approve" ? "primary" : decision === "reject" ? "danger" : undefined}
            disabled={!isPossible[decision]}
            onClick={() => onDecide({ decision, args: read.value, message })}
          >
            {VERBS[decision]}
          </Button>
        ))}
        {chosen !== null && <span role="status">{VERBS[chosen]}</span>}
      </div>
    </fieldset>
  );
}

function FieldsForm({ fields, onAnswer }: { fields: SchemaField[]; onAnswer: AnswerProps["onAnswer"] }) {
  const form = useSchemaForm(fields);
  const [problem, setProblem] = useState<string | null>(null);
  const send = async (): Promise<void> => {
    const read = form.read();
    setProblem(read.problem);
    if (read.problem === null) await onAnswer(read.value);
  };
  return (
    <fieldset>
      <legend>Answer</legend>
      <SchemaForm fields={fields} texts={form.texts} setText={form.setText} />
      <Problem text={problem} />
      <Button kind="primary" onClick={send}>
        Answer
      </Button>
    </fieldset>
  );
}

function FreeForm({ onAnswer }: { onAnswer: AnswerProps["onAnswer"] }) {
  const [text, setText] = useState("");
  const read = parsed(text);
  return (
    <fieldset>
      <legend>Answer</legend>
      <TextArea
        label="Answer (JSON or text)"
        value={text}
        onChange={setText}
        rows={3}
        hint="What is no JSON is sent as text."
      />
      <div class="actions">
        <Button
          kind="primary"
          disabled={text === ""}
          onClick={() => onAnswer(read.problem === null ? read.value : text)}
        >
          Answer
        </Button>
        <Button onClick={() => onAnswer(true)}>Yes (true)</Button>
        <Button onClick={() => onAnswer(false)}>No (false)</Button>
      </div>
    </fieldset>
  );
}
