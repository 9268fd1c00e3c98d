// The connection to the server: lost when a request fails, and tried again until the server answers.
import { signal } from "@preact/signals";

export type Absence = { from: Date; until: Date };

export const lostAt = signal<Date | null>(null);
/** The last absence of the server, until it is dismissed. */
export const absence = signal<Absence | null>(null);
/** Grows when the server is back: all that is shown is then read again. */
export const generation = signal(0);

const RETRY_MS = 1_000;

export function connectionLost(probe: string): void {
  if (lostAt.value !== null) return;
  lostAt.value = new Date();
  const retry = async (): Promise<void> => {
    const answers = await fetch(probe, { cache: "no-store" }).then(
      (answer) => answer.ok,
      () => false,
    );
    if (!answers) {
      setTimeout(retry, RETRY_MS);
      return;
    }
    absence.value = { from: lostAt.value ?? new Date(), until: new Date() };
    lostAt.value = null;
    generation.value += 1;
  };
  setTimeout(retry, RETRY_MS);
}
