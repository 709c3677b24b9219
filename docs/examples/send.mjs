// Sends events to pinrelay and waits until each is on its disk.
// As a program: node send.mjs /run/pinrelay/ingest.sock < events.ndjson

import net from "node:net";
import readline from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const WINDOW = 100; // lines without an answer; more, and each side might wait for the other

// Gives one answer for each event, in order. Each event has its own messageId, made once and
// stored with what it tells of: sent again, it is recognised by that. Throws after `patience`
// milliseconds without progress: keep the events then, and send them again.
export async function send(events, path = "/run/pinrelay/ingest.sock", patience = 30_000) {
  const lines = events.map((event) => JSON.stringify(event) + "\n");
  const answers = lines.map(() => null);
  let left = lines.map((_, i) => i);
  let since = Date.now();
  while (left.length > 0) {
    const which = left.slice(0, WINDOW);
    const { got, trouble } = await exchange(path, which.map((i) => lines[i]));
    got.forEach((answer, k) => {
      if (answer.status !== "unavailable") answers[which[k]] = answer;
    });
    const before = left.length;
    left = left.filter((i) => answers[i] === null);
    if (left.length < before) since = Date.now();
    else if (Date.now() - since > patience)
      throw new Error(`${path}: ${trouble}; ${left.length} events unanswered`);
    else await sleep(200);
  }
  return answers;
}

// One connection: writes these lines, reads their answers as far as they come.
function exchange(path, lines) {
  return new Promise((resolve) => {
    const got = [];
    let rest = "";
    const socket = net.createConnection(path);
    const end = (trouble) => {
      socket.destroy();
      resolve({ got, trouble });
    };
    socket.setEncoding("utf8");
    socket.setTimeout(10_000, () => end("no answer for 10 s"));
    socket.on("error", (error) => end(error.message));
    socket.on("close", () => end("the connection ended"));
    socket.on("data", (piece) => {
      const whole = (rest + piece).split("\n");
      rest = whole.pop(); // cut off: no answer yet
      try {
        for (const line of whole) got.push(JSON.parse(line));
      } catch (error) {
        return end(error.message);
      }
      if (got.length >= lines.length) end("it has no room");
    });
    socket.write(lines.join(""));
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  let window = [];
  const flush = async () => {
    for (const answer of await send(window, process.argv[2])) console.log(JSON.stringify(answer));
    window = [];
  };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    window.push(JSON.parse(line));
    if (window.length === WINDOW) await flush();
  }
  await flush();
}
