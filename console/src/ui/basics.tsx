// Small parts that all pages share.
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { ago, shortId } from "../format";
import { isReadOnly } from "../session";

const now = signal(Date.now());
setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, 1_000);

const SHAPES: Record<string, string> = {
  success: "✓",
  idle: "✓",
  succeeded: "✓",
  delivered: "✓",
  error: "✕",
  failed: "✕",
  dead: "✕",
  timeout: "✕",
  running: "▶",
  busy: "▶",
  valid: "✓",
  revoked: "✕",
  expired: "✕",
  pending: "○",
  interrupted: "‖",
};

/** A status as a word, a shape and a colour. */
export function Status({ value }: { value: string }) {
  return (
    <span class={`status status-${value}`}>
      <span aria-hidden="true">{SHAPES[value] ?? "•"}</span>
      {value}
    </span>
  );
}

export function Time({ value }: { value: string }) {
  return (
    <time dateTime={value} title={new Date(value).toLocaleString()}>
      {ago(value, now.value)}
    </time>
  );
}

export function Id({ value, link }: { value: string; link?: string }) {
  const text = <code title={value}>{shortId(value)}</code>;
  return link === undefined ? text : <a href={link}>{text}</a>;
}

export function Problem({ text }: { text: string | null }) {
  return text === null ? null : (
    <p class="problem" role="alert">
      {text}
    </p>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

type ButtonProps = {
  children: ComponentChildren;
  onClick: () => unknown;
  kind?: "primary" | "danger";
  disabled?: boolean;
};

/** A button that is disabled while its action is under way, and for readers if it changes something. */
export function Button({ children, onClick, kind, disabled = false }: ButtonProps) {
  const [isBusy, setBusy] = useState(false);
  const isRefused = kind !== undefined && isReadOnly.value;
  const act = async (): Promise<void> => {
    setBusy(true);
    try {
      await onClick();
    } finally {
      setBusy(false);
    }
  };
  return (
    <button type="button" class={kind ?? ""} disabled={disabled || isBusy || isRefused} onClick={act}>
      {children}
    </button>
  );
}

export function Copy({ text, label }: { text: () => string; label: string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(text());
    setCopied(true);
    setTimeout(() => setCopied(false), 1_500);
  };
  return <Button onClick={copy}>{isCopied ? "Copied" : label}</Button>;
}

type PagerProps = { offset: number; limit: number; total: number; onMove: (offset: number) => void };

export function Pager({ offset, limit, total, onMove }: PagerProps) {
  if (total <= limit && offset === 0) return null;
  return (
    <div class="pager">
      <Button onClick={() => onMove(Math.max(0, offset - limit))} disabled={offset === 0}>
        Newer
      </Button>
      <span>
        {offset + 1} to {Math.min(offset + limit, total)} of {total}
      </span>
      <Button onClick={() => onMove(offset + limit)} disabled={offset + limit >= total}>
        Older
      </Button>
    </div>
  );
}

/** Terms with their values. */
export function Facts({ of }: { of: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {of.map(([term, value]) => (
        <div key={term}>
          <dt>{term}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
