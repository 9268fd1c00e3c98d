// Data from the server for one part of a page: loaded, polled while the page is visible, and loaded again on demand.
import { useEffect, useRef, useState } from "preact/hooks";

import { generation, lostAt } from "./connection";
import { refusal } from "./session";
import { asPoll } from "./shared-reads";

export type Resource<T> = { data: T | null; error: string | null; reload: () => Promise<void> };

/** `key` names what is loaded: another key loads anew. `pollMs`: 0 for data that is loaded once. */
export function useResource<T>(key: string, load: () => Promise<T>, pollMs = 0): Resource<T> {
  const [state, setState] = useState<{ key: string; data: T | null; error: string | null }>({
    key,
    data: null,
    error: null,
  });
  const wanted = useRef(key);
  wanted.current = key;
  const reload = async (): Promise<void> => {
    try {
      const data = await load();
      if (wanted.current === key) setState({ key, data, error: null });
    } catch (error) {
      const text = (error as Error).message;
      if (wanted.current === key)
        setState((before) => ({ key, data: before.key === key ? before.data : null, error: text }));
    }
  };
  const latest = useRef(reload);
  latest.current = reload;
  useEffect(() => {
    let timer = 0;
    let isOver = false;
    const step = async (): Promise<void> => {
      const isIdle = document.hidden || lostAt.value !== null || refusal.value !== null;
      if (!isIdle) await asPoll(latest.current);
      if (!isOver && pollMs > 0) timer = window.setTimeout(step, pollMs);
    };
    void latest.current().then(() => {
      if (!isOver && pollMs > 0) timer = window.setTimeout(step, pollMs);
    });
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [key, pollMs, generation.value]);
  const isCurrent = state.key === key;
  return { data: isCurrent ? state.data : null, error: isCurrent ? state.error : null, reload };
}
