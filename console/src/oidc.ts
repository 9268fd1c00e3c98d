// Login at the server's OIDC issuer: authorization code with PKCE. The code is in the address until it is exchanged, and
// no token ever is. Between the two requests, the tab keeps a random verifier; afterwards only the access token, and a
// refresh token in memory.
import { credentials, logIn, refusal } from "./session";

export type Issuer = { issuer: string; client_id: string; scope: string };
type Endpoints = { issuer: string; authorization_endpoint: string; token_endpoint: string };
type Pending = Issuer & { state: string; verifier: string; redirectUri: string; fragment: string };
type Tokens = { access_token: string; expires_in?: number; refresh_token?: string };

const STORED_AS = "runstead.login";
/** Seconds before its end at which a token is renewed. */
const EARLY = 30;

/** The issuer that this server names for the console; null if there is none. */
export async function readIssuer(): Promise<Issuer | null> {
  const answer = await fetch(new URL("login.json", location.href.split("#")[0]));
  return answer.ok ? (await answer.json()).oidc : null;
}

/** Leaves the page for the issuer's login. Throws if that cannot work. */
export async function beginLogin(issuer: Issuer): Promise<void> {
  if (!isSecureContext) throw new Error("A login at the issuer needs https. Open the console over https.");
  const { authorization_endpoint } = await endpointsOf(issuer.issuer);
  const [state, verifier] = [random(), random()];
  const redirectUri = location.origin + location.pathname;
  const pending: Pending = { ...issuer, state, verifier, redirectUri, fragment: location.hash };
  sessionStorage.setItem(STORED_AS, JSON.stringify(pending));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const url = new URL(authorization_endpoint);
  const asked = {
    response_type: "code",
    client_id: issuer.client_id,
    redirect_uri: redirectUri,
    scope: issuer.scope,
    state,
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
  location.assign(url);
}

/** Exchanges the code in the address for a token, and removes it from the address and the browser's history. */
export async function finishLogin(): Promise<void> {
  const given = new URLSearchParams(location.search);
  const pending: Pending | null = JSON.parse(sessionStorage.getItem(STORED_AS) ?? "null");
  sessionStorage.removeItem(STORED_AS);
  history.replaceState(null, "", location.pathname + (pending?.fragment ?? ""));
  // To the page that the user had asked for.
  dispatchEvent(new HashChangeEvent("hashchange"));
  try {
    if (pending === null || given.get("state") !== pending.state)
      throw new Error("This login was not begun in this tab, or was used before. Log in again.");
    if ((given.get("iss") ?? pending.issuer) !== pending.issuer) throw new Error("Another issuer has answered.");
    const code = given.get("code");
    if (code === null)
      throw new Error(given.get("error_description") ?? given.get("error") ?? "The issuer sent no code.");
    const { token_endpoint } = await endpointsOf(pending.issuer);
    const body = { grant_type: "authorization_code", code, redirect_uri: pending.redirectUri };
    take(
      await tokensFrom(token_endpoint, pending, { ...body, code_verifier: pending.verifier }),
      token_endpoint,
      pending,
    );
  } catch (error) {
    refusal.value = (error as Error).message;
  }
}

async function endpointsOf(issuer: string): Promise<Endpoints> {
  const answer = await fetch(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`).catch(() => null);
  if (!answer?.ok) throw new Error("The issuer does not answer. Try again, or paste an access token.");
  const found: Endpoints = await answer.json();
  if (found.issuer !== issuer) throw new Error("The document of the issuer is about another issuer.");
  return found;
}

async function tokensFrom(endpoint: string, { client_id }: Issuer, body: Record<string, string>): Promise<Tokens> {
  const answer = await fetch(endpoint, { method: "POST", body: new URLSearchParams({ client_id, ...body }) });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error_description ?? found.error ?? "The issuer refuses the login.");
  return found;
}

function take({ access_token, expires_in, refresh_token }: Tokens, endpoint: string, issuer: Issuer): void {
  logIn({ kind: "token", secret: access_token });
  if (refresh_token === undefined || expires_in === undefined) return;
  setTimeout(
    async () => {
      // The user has logged out, or in again.
      if (credentials.value?.secret !== access_token) return;
      const body = { grant_type: "refresh_token", refresh_token };
      const tokens = await tokensFrom(endpoint, issuer, body).catch(() => null);
      // Without a new one, the server refuses the old token soon, and the page asks for a login.
      if (tokens !== null) take({ refresh_token, ...tokens }, endpoint, issuer);
    },
    Math.max(expires_in - EARLY, expires_in / 2) * 1_000,
  );
}

function random(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
