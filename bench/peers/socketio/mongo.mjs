// What the harness asks of a MongoDB that it has started.
//
// mongo.mjs URI prepare ADDRESS SESSIONS_FILE    makes it a replica set, and keeps in it a session of
//                                                each line of {"sessionID", "userId"}, as connect-mongo does
// mongo.mjs URI queries                          prints how many it has answered

import { readFileSync } from "node:fs";
import { MongoClient } from "mongodb";

const HOUR = 3_600_000;
const [uri, command, address, file] = process.argv.slice(2);

if (command === "prepare") {
  await asOne(`mongodb://${address}/?directConnection=true`, initiate);
  await asOne(uri, keepSessions);
} else if (command === "queries") {
  await asOne(uri, async (client) => {
    const { opcounters } = await client.db("admin").command({ serverStatus: 1 });
    console.log(Number(opcounters.query));
  });
} else {
  throw new Error(`what is ${command}?`);
}

async function asOne(place, work) {
  const client = new MongoClient(place);
  try {
    await work(client);
  } finally {
    await client.close();
  }
}

async function initiate(client) {
  const members = [{ _id: 0, host: address }];
  await client.db("admin").command({ replSetInitiate: { _id: "rs0", members } });
}

async function keepSessions(client) {
  const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
  const documents = lines.map((line) => {
    const { sessionID, userId } = JSON.parse(line);
    const session = JSON.stringify({ cookie: { originalMaxAge: HOUR, path: "/" }, userId });
    return { _id: sessionID, expires: new Date(Date.now() + HOUR), session };
  });
  await client.db().collection("sessions").insertMany(documents);
}
