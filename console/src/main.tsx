import { render } from "preact";

import { Shell } from "./shell";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/content.css";
import "./styles/run.css";
import "./styles/pages.css";

render(<Shell />, document.getElementById("root")!);
