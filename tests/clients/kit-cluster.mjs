// Drives several nodes of profile `kit`, which are one cluster of three:
//   node kit-cluster.mjs URL URL URL --transports websocket | polling,websocket
import { runChecks } from "./lib/check.mjs";
import "./kit/control.mjs";
import "./kit/disconnect.mjs";
import "./kit/cluster.mjs";

await runChecks();
