// Labelled fields of forms.
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

type FieldProps = { label: string; value: string; onChange: (value: string) => void; hint?: string };

function Hint({ id, text }: { id: string; text: string | undefined }) {
  return text ? <small id={`${id}-notes`}>{text}</small> : null;
}

type TextProps = FieldProps & {
  type?: "text" | "password";
  inputMode?: "text" | "decimal";
  placeholder?: string;
  autocomplete?: string;
};

export function TextField(props: TextProps) {
  const { label, value, onChange, hint, type = "text", inputMode = "text", placeholder, autocomplete = "off" } = props;
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        type={type as "text"}
        value={value}
        inputMode={inputMode}
        placeholder={placeholder}
        aria-describedby={hint ? `${id}-notes` : undefined}
        autocomplete={autocomplete}
        spellcheck={false}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
      <Hint id={id} text={hint} />
    </div>
  );
}

type AreaProps = FieldProps & { rows?: number; problem?: string | null };

export function TextArea({ label, value, onChange, rows = 6, hint, problem = null }: AreaProps) {
  const id = useId();
  const notes = problem ?? hint;
  return (
    <div class="field field-wide">
      <label for={id}>{label}</label>
      <textarea
        id={id}
        rows={rows}
        value={value}
        spellcheck={false}
        aria-invalid={problem !== null}
        aria-describedby={notes ? `${id}-notes` : undefined}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
      {notes && (
        <small id={`${id}-notes`} class={problem ? "invalid" : ""}>
          {notes}
        </small>
      )}
    </div>
  );
}

export function Choice({ label, value, onChange, hint, children }: FieldProps & { children: ComponentChildren }) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select
        id={id}
        value={value}
        aria-describedby={hint ? `${id}-notes` : undefined}
        onChange={(event) => onChange(event.currentTarget.value)}
      >
        {children}
      </select>
      <Hint id={id} text={hint} />
    </div>
  );
}

/** The value of a JSON text, or the reason why it is none. */
export function parsed(text: string): { value: unknown; problem: string | null } {
  try {
    return { value: text.trim() === "" ? null : JSON.parse(text), problem: null };
  } catch (error) {
    return { value: null, problem: `This is no JSON: ${(error as Error).message}` };
  }
}
