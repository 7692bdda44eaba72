// Drives a server of profile `kit` as a black box, with the unmodified socket.io-client:
//   node kit.mjs URL --transports websocket | polling | polling,websocket | websocket,polling
import { runChecks } from "./lib/check.mjs";
import "./kit/connect.mjs";
import "./kit/messages.mjs";
import "./kit/control.mjs";
import "./kit/disconnect.mjs";
import "./kit/recovery.mjs";

await runChecks();
