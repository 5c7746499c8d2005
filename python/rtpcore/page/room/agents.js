// Which agent workers there are and how much they do; nothing is shown where there is none and nobody waits for one.

import { percent } from "/page/stats.js";

const EVERY_MS = 2000;

/** Shows them in `section` for as long as that can be seen. */
export function watch(section) {
  const look = async () => {
    if (!section.parentElement.hidden && !document.hidden) draw(section, await ask());
    setTimeout(look, EVERY_MS);
  };
  look();
}

async function ask() {
  try {
    const answer = await fetch("/dev/agents");
    return answer.ok ? await answer.json() : null;
  } catch {
    // Nobody answers: who tries to join is told so.
    return null;
  }
}

function draw(section, told) {
  const { workers, counts } = told ?? { workers: [], counts: {} };
  const waiting = (counts.queued ?? 0) + (counts.offered ?? 0);
  section.hidden = !workers.length && !waiting;
  section.querySelector("tbody").replaceChildren(...workers.map(row));
  section.querySelector("p").textContent = waiting ? `${waiting} waiting for an agent` : "";
}

function row({ id, agent_name: name, type, state, load, running, pending }) {
  const line = document.createElement("tr");
  line.title = `${id}, for each ${type}`;
  for (const text of [name || "any room", state, percent(load), running, pending]) {
    line.insertCell().textContent = text;
  }
  return line;
}
