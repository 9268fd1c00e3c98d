// The credentials of the user: kept for this tab alone, and forgotten when it is closed.
import { signal } from "@preact/signals";

export type Credentials = { kind: "key" | "token"; secret: string };

const STORED_AS = "runstead.credentials";

function stored(): Credentials | null {
  try {
    return JSON.parse(sessionStorage.getItem(STORED_AS) ?? "null");
  } catch {
    return null;
  }
}

export const credentials = signal<Credentials | null>(stored());
/** The server's reason for refusing the last request; the login is shown while there is one. */
export const refusal = signal<string | null>(null);

/** The user may only read: what changes something is not offered. */
export const isReadOnly = signal(false);

export function logIn(given: Credentials): void {
  sessionStorage.setItem(STORED_AS, JSON.stringify(given));
  credentials.value = given;
  refusal.value = null;
}

export function logOut(): void {
  sessionStorage.removeItem(STORED_AS);
  credentials.value = null;
  refusal.value = "You have logged out.";
}

/** What is equal for all tabs of one user: the key, or issuer and subject of the token. */
export function identityOf(given: Credentials | null): string {
  if (given?.kind !== "token") return JSON.stringify(given);
  try {
    const claims = JSON.parse(atob(given.secret.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/")));
    return JSON.stringify([claims.iss, claims.sub]);
  } catch {
    return given.secret;
  }
}

export function authHeaders(): Record<string, string> {
  const given = credentials.value;
  if (given === null) return {};
  return given.kind === "key" ? { "x-api-key": given.secret } : { authorization: `Bearer ${given.secret}` };
}
