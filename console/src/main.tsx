import { render } from "preact";

import { Shell } from "./shell";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/content.css";
import "./styles/run.css";
import "./styles/pages.css";

const given = new URLSearchParams(location.search);
// The issuer of a login has sent the user back.
if (given.has("state") && (given.has("code") || given.has("error"))) await (await import("./oidc")).finishLogin();
render(<Shell />, document.getElementById("root")!);
