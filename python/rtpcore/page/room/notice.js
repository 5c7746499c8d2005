// The line under the bar: one thing that went wrong, or is on its way.

const element = document.getElementById("notice");
const [text, act, dismiss] = element.children;

/** Shows a line; `about` says for what, so that `settle` can take back what has become untrue. */
export function notify(words, { about = "", mood = "bad", action = null } = {}) {
  if (!words) return;
  text.textContent = words;
  element.dataset.about = about;
  element.dataset.mood = mood;
  act.hidden = !action;
  act.textContent = action?.label ?? "";
  act.onclick = action?.run ?? null;
  element.hidden = false;
}

/** Takes back the line about something, or any. */
export function settle(about = element.dataset.about) {
  if (element.dataset.about === about) element.hidden = true;
}

dismiss.addEventListener("click", () => settle());
