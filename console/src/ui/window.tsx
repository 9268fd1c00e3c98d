// A list of any length, of which only the visible rows are in the document. One row is selected, also by keyboard.
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

type WindowProps<T> = {
  label: string;
  items: readonly T[];
  rowHeight: number;
  keyOf: (item: T) => string;
  selected: string | null;
  onSelect: (item: T) => void;
  render: (item: T) => ComponentChildren;
  /** Shows the last row whenever rows are added, unless the reader has scrolled up. */
  follows?: boolean;
};

const BEYOND = 10;

export function WindowedList<T>(props: WindowProps<T>) {
  const { label, items, rowHeight, keyOf, selected, onSelect, render, follows = false } = props;
  const id = useId();
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const isAtEnd = useRef(true);
  const measure = (): void => {
    if (box.current === null) return;
    const { scrollTop, clientHeight, scrollHeight } = box.current;
    isAtEnd.current = scrollTop + clientHeight >= scrollHeight - rowHeight;
    setView({ top: scrollTop, height: clientHeight });
  };
  useEffect(() => {
    const observer = new ResizeObserver(measure);
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (follows && isAtEnd.current) box.current!.scrollTop = box.current!.scrollHeight;
  }, [items.length, follows]);

  const first = Math.max(0, Math.floor(view.top / rowHeight) - BEYOND);
  const last = Math.min(items.length, Math.ceil((view.top + view.height) / rowHeight) + BEYOND);
  const place = items.findIndex((item) => keyOf(item) === selected);
  const isShown = place >= first && place < last;
  const move = (event: KeyboardEvent): void => {
    const to = target(event.key, place, items.length, Math.floor(view.height / rowHeight));
    if (to === null) return;
    event.preventDefault();
    onSelect(items[to]!);
    const [top, bottom] = [to * rowHeight, (to + 1) * rowHeight];
    if (top < view.top) box.current!.scrollTop = top;
    else if (bottom > view.top + view.height) box.current!.scrollTop = bottom - view.height;
  };
  return (
    <div
      class="window"
      role="listbox"
      aria-label={label}
      aria-activedescendant={isShown ? `${id}-${place}` : undefined}
      tabIndex={0}
      ref={box}
      onScroll={measure}
      onKeyDown={move}
    >
      <div class="window-rows" role="presentation" style={{ height: `${items.length * rowHeight}px` }}>
        {items.slice(first, last).map((item, offset) => (
          <div
            key={keyOf(item)}
            id={`${id}-${first + offset}`}
            role="option"
            aria-selected={keyOf(item) === selected}
            aria-setsize={items.length}
            aria-posinset={first + offset + 1}
            class="window-row"
            style={{ top: `${(first + offset) * rowHeight}px`, height: `${rowHeight}px` }}
            onClick={() => onSelect(item)}
          >
            {render(item)}
          </div>
        ))}
      </div>
    </div>
  );
}

function target(key: string, at: number, length: number, page: number): number | null {
  const steps: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page };
  const to = { ...steps, Home: 0, End: length - 1 }[key];
  return to === undefined || length === 0 ? null : Math.min(Math.max(to, 0), length - 1);
}
