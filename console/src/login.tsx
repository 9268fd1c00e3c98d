// The login: an API key, or an access token of an identity provider.
import { useState } from "preact/hooks";

import { type Credentials, logIn, refusal } from "./session";
import { Choice, TextField } from "./ui/fields";

export function Login() {
  const [kind, setKind] = useState<Credentials["kind"]>("key");
  const [secret, setSecret] = useState("");
  const submit = (event: Event): void => {
    event.preventDefault();
    if (secret.trim() !== "") logIn({ kind, secret: secret.trim() });
  };
  return (
    <main class="login">
      <form onSubmit={submit}>
        <h1>Log in to Runstead</h1>
        <p role="status">{refusal.value}</p>
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
        <button type="submit" class="primary">
          Log in
        </button>
        <small>It is kept in this tab until you close it, and sent to this server alone.</small>
      </form>
    </main>
  );
}
