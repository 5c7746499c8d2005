// A name to begin with, so that joining is one click.

const COLOURS = ["Amber", "Blue", "Coral", "Golden", "Green", "Indigo", "Ivory", "Olive", "Ruby", "Silver", "Teal", "Violet"];
const ANIMALS = ["Badger", "Falcon", "Fox", "Hare", "Heron", "Lynx", "Marten", "Otter", "Owl", "Raven", "Seal", "Wren"];
const KEY = "rtpcore.name";

/** The name of last time, or one made up. */
export function recall() {
  // Throws where a browser keeps nothing.
  try {
    return localStorage.getItem(KEY) || invent();
  } catch {
    return invent();
  }
}

/** Keeps a name for the next time. */
export function remember(name) {
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // Then it is made up again.
  }
}

/** Up to two letters for a picture that is not there. */
export function initials(name) {
  const words = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join("");
}

/** A hue in degrees that a name always has. */
export function hue(name) {
  return [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
}

function invent() {
  return `${pick(COLOURS)} ${pick(ANIMALS)}`;
}

function pick(words) {
  return words[Math.floor(Math.random() * words.length)];
}
