// Connects, and comes back by itself however often it is dropped, until the backend greets it:
//   node return.mjs URL --transports …
import { client } from "./lib/session.mjs";

const fail = (why) => {
  console.error(why);
  process.exit(1);
};
setTimeout(() => fail("no greeting came in 60 s"), 60_000);

const socket = client();
socket.on("connect_error", (error) => {
  if (!socket.active) fail(`refused for good: ${error.message}`);
});
socket.on("disconnect", (reason) => {
  if (!socket.active) fail(`it was told to stay away: ${reason}`);
});
socket.on("welcome-back", () => process.exit(0));
