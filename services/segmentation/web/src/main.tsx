import { render } from "preact";
import { App } from "./app";
import { applyTheme } from "./core/theme";
import "./style/base.css";

applyTheme();
render(<App />, document.getElementById("page") as HTMLElement);
