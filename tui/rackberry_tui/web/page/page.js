// Gets a place, hands it to textual-serve's script, and watches over it: what the server or the app
// does not say within STILL_MS is said to be old, in words, over a picture that has lost its colours.
"use strict";

const ASK_MS = 500;
const PATIENCE_MS = 1200;
const STILL_MS = 2200;
const JUDGE_MS = 200;
const START_MS = 20000;

const byId = (id) => document.getElementById(id);
let over = false;
let began = performance.now();
let silent = "the server"; // who it is that does not answer, when somebody does not
let alive = null; // when the app was last known to have beaten, by this page's clock

function say(words, { last = false } = {}) {
  byId("words").textContent = words;
  byId("notice").classList.toggle("shown", words !== "");
  document.body.classList.toggle("still", words !== "");
  if (last) {
    over = true;
    byId("notice").classList.add("over");
  }
}

async function ask(path, options = {}) {
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(), PATIENCE_MS);
  try {
    return await fetch(path, { cache: "no-store", signal: end.signal, ...options });
  } finally {
    clearTimeout(timer);
  }
}

async function watch(name) {
  try {
    const pulse = await (await ask("/pulse/" + name)).json();
    if (!pulse.there || document.body.classList.contains("-closed")) {
      say("This screen has ended.", { last: true });
      return;
    }
    if (pulse.still_ms !== null) alive = performance.now() - pulse.still_ms;
    silent = "its app";
  } catch {
    silent = "the server";
  }
}

// Not in step with the asking: an answer that does not come must not delay what is said about it.
function judge() {
  if (over) return;
  const since = performance.now() - (alive ?? began);
  if (since < STILL_MS) say("");
  else if (alive === null && since < START_MS) say("the screen is starting");
  else
    say(`THIS SCREEN STANDS STILL, since ${Math.floor(since / 1000)} s: ${silent} does not answer. What you see is old.`);
}

async function enter() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  const answer = await fetch("/enter", {
    method: "POST",
    headers: token ? { "X-Rackberry-Token": token } : {},
  });
  const place = await answer.json();
  if (!answer.ok) throw new Error(place.words);
  return place.name;
}

async function begin() {
  // The cells of the terminal are measured once: the font has to be there.
  await Promise.all([document.fonts.load("15px 'Roboto Mono'"), document.fonts.load("bold 15px 'Roboto Mono'")]);
  const name = await enter();
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  byId("terminal").dataset.sessionWebsocketUrl = `${scheme}//${location.host}/terminal/${name}`;
  const script = document.createElement("script");
  script.src = "/static/js/textual.js";
  script.onload = () => window.onload(); // it waits for an event that is over
  document.body.append(script);
  began = performance.now();
  const turn = async () => {
    await watch(name);
    if (!over) setTimeout(turn, ASK_MS);
  };
  setTimeout(turn, ASK_MS);
  setInterval(judge, JUDGE_MS);
}

byId("again").addEventListener("click", () => location.reload());
begin().catch((error) => say(error.message || "the server does not answer", { last: true }));
