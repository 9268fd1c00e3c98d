// A form for the fields of a schema. Its value is read when the form is submitted.
import { useState } from "preact/hooks";

import type { SchemaField } from "../model/schema-fields";
import { parsed, TextArea, TextField, Choice } from "./fields";

export type FormValue = { value: Record<string, unknown>; problem: string | null };

type Texts = Record<string, string>;

export function useSchemaForm(fields: SchemaField[]): {
  texts: Texts;
  setText: (name: string, text: string) => void;
  read: () => FormValue;
} {
  const [texts, setTexts] = useState<Texts>(() =>
    Object.fromEntries(fields.map((field) => [field.name, initialText(field)])),
  );
  const setText = (name: string, text: string): void => setTexts((before) => ({ ...before, [name]: text }));
  return { texts, setText, read: () => valueOf(fields, texts) };
}

function initialText({ kind, initial, choices, isRequired }: SchemaField): string {
  if (kind === "choice") return JSON.stringify(initial ?? (isRequired ? choices[0] : undefined)) ?? "";
  if (initial === undefined || initial === null) return kind === "boolean" ? "false" : "";
  return kind === "text" ? String(initial) : JSON.stringify(initial);
}

function valueOf(fields: SchemaField[], texts: Texts): FormValue {
  const value: Record<string, unknown> = {};
  for (const field of fields) {
    const text = texts[field.name] ?? "";
    if (text === "" && !(field.kind === "text" && field.isRequired)) {
      if (field.isRequired) return { value, problem: `${field.label} is required.` };
      continue;
    }
    if (field.kind === "text") {
      value[field.name] = text;
      continue;
    }
    const read = parsed(text);
    if (read.problem !== null) return { value, problem: `${field.label}: ${read.problem}` };
    value[field.name] = read.value;
  }
  return { value, problem: null };
}

type SchemaFormProps = { fields: SchemaField[]; texts: Texts; setText: (name: string, text: string) => void };

export function SchemaForm({ fields, texts, setText }: SchemaFormProps) {
  return (
    <>
      {fields.map((field) => (
        <Field
          key={field.name}
          field={field}
          text={texts[field.name] ?? ""}
          onChange={(text) => setText(field.name, text)}
        />
      ))}
    </>
  );
}

function Field({ field, text, onChange }: { field: SchemaField; text: string; onChange: (text: string) => void }) {
  const label = field.isRequired ? field.label : `${field.label} (optional)`;
  switch (field.kind) {
    case "boolean":
      return (
        <label class="check">
          <input
            type="checkbox"
            checked={text === "true"}
            onChange={(event) => onChange(String(event.currentTarget.checked))}
          />{" "}
          {field.label} {field.hint && <small>{field.hint}</small>}
        </label>
      );
    case "choice":
      return (
        <Choice label={label} value={text} onChange={onChange} hint={field.hint}>
          {!field.isRequired && <option value="">none</option>}
          {field.choices.map((choice) => (
            <option key={JSON.stringify(choice)} value={JSON.stringify(choice)}>
              {String(choice)}
            </option>
          ))}
        </Choice>
      );
    case "json":
      return <TextArea label={`${label}, JSON`} value={text} onChange={onChange} rows={3} hint={field.hint} />;
    default:
      return (
        <TextField
          label={label}
          value={text}
          onChange={onChange}
          hint={field.hint}
          inputMode={field.kind === "text" ? "text" : "decimal"}
        />
      );
  }
}
