// Tabs over one panel, moved with the arrow keys.
import type { ComponentChildren } from "preact";
import { useId, useRef } from "preact/hooks";

type TabsProps<T extends string> = {
  label: string;
  names: readonly T[];
  chosen: T;
  onChoose: (name: T) => void;
  children: ComponentChildren;
};

export function Tabs<T extends string>({ label, names, chosen, onChoose, children }: TabsProps<T>) {
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    const at = (names.indexOf(chosen) + step + names.length) % names.length;
    onChoose(names[at]!);
    (list.current!.children[at] as HTMLElement).focus();
    event.preventDefault();
  };
  return (
    <>
      <div class="tabs" role="tablist" aria-label={label} ref={list} onKeyDown={move}>
        {names.map((name) => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`${id}-${name}`}
            aria-selected={name === chosen}
            aria-controls={`${id}-panel`}
            tabIndex={name === chosen ? 0 : -1}
            onClick={() => onChoose(name)}
          >
            {name}
          </button>
        ))}
      </div>
      <div class="panel" role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${chosen}`} tabIndex={0}>
        {children}
      </div>
    </>
  );
}
