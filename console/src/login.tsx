// The login: at the OIDC issuer of the server, with an API key, or with an access token.
import { useEffect, useState } from "preact/hooks";

import { beginLogin, type Issuer, readIssuer } from "./oidc";
import { type Credentials, logIn, refusal } from "./session";
import { Button } from "./ui/basics";
import { Choice, TextField } from "./ui/fields";

export function Login() {
  const [kind, setKind] = useState<Credentials["kind"]>("key");
  const [secret, setSecret] = useState("");
  const [issuer, setIssuer] = useState<Issuer | null>(null);
  useEffect(() => {
    readIssuer().then(
      (found) => {
        setIssuer(found);
        if (found !== null) setKind("token");
      },
      () => setIssuer(null),
    );
  }, []);
  const submit = (event: Event): void => {
    event.preventDefault();
    if (secret.trim() !== "") logIn({ kind, secret: secret.trim() });
  };
  const goToIssuer = async (): Promise<void> => {
    try {
      await beginLogin(issuer!);
    } catch (error) {
      refusal.value = (error as Error).message;
    }
  };
  return (
    <main class="login">
      <form onSubmit={submit}>
        <h1>Log in to Runstead</h1>
        <p role="status">{refusal.value}</p>
        {issuer !== null && (
          <>
            <Button kind="primary" onClick={goToIssuer}>
              Log in at {new URL(issuer.issuer).host}
            </Button>
            <p class="muted">Or without leaving this page:</p>
          </>
        )}
        <Choice label="Log in with" value={kind} onChange={(value) => setKind(value as Credentials["kind"])}>
          <option value="key">an API key</option>
          <option value="token">an access token</option>
        </Choice>
        <TextField
          label={kind === "key" ? "API key" : "Access token"}
          type="password"
          value={secret}
          onChange={setSecret}
          autocomplete="current-password"
        />
        <button type="submit" class={issuer === null ? "primary" : ""}>
          Log in
        </button>
        <small>It is kept in this tab until you close it, and sent to this server alone.</small>
      </form>
    </main>
  );
}
