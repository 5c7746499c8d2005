// What people write to each other: a panel beside the tiles, over them on a phone.

const MAX_MESSAGES = 200;
/** Where there is room for it beside the tiles it is open from the start. */
const WIDE = matchMedia("(width >= 72rem)");

const $ = (id) => document.getElementById(id);

export class Chat {
  #unread = 0;

  /** @param send Sends a text to everyone; may fail. */
  constructor(send) {
    this.send = send;
    $("say").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#say();
    });
    $("chat-open").addEventListener("click", () => this.#toggle($("chat").hidden));
    $("chat-close").addEventListener("click", () => this.#toggle(false));
    $("chat").addEventListener("keydown", ({ key }) => {
      if (key === "Escape") this.#toggle(false);
    });
  }

  /** Empties it for a new room. */
  begin() {
    $("messages").replaceChildren();
    $("silence").hidden = false;
    this.#show(WIDE.matches);
  }

  /** Adds what somebody said. */
  add({ name, text, isOwn = false }) {
    const item = document.createElement("li");
    item.classList.toggle("own", isOwn);
    item.append(Object.assign(document.createElement("b"), { textContent: name }), Object.assign(document.createElement("span"), { textContent: text }));
    const messages = $("messages");
    messages.append(item);
    while (messages.children.length > MAX_MESSAGES) messages.firstElementChild.remove();
    messages.scrollTop = messages.scrollHeight;
    $("silence").hidden = true;
    if ($("chat").hidden) this.#count(this.#unread + 1);
    return item;
  }

  async #say() {
    const text = $("text").value.trim();
    if (!text) return;
    $("text").value = "";
    const item = this.add({ name: "You", text, isOwn: true });
    item.dataset.state = "sending";
    try {
      await this.send(text);
      delete item.dataset.state;
    } catch (error) {
      item.dataset.state = "failed";
      item.title = error.message;
    }
  }

  /** Opens or closes it, and takes the focus along. */
  #toggle(isOpen) {
    this.#show(isOpen);
    (isOpen ? $("text") : $("chat-open")).focus();
  }

  #show(isOpen) {
    $("chat").hidden = !isOpen;
    $("chat-open").setAttribute("aria-expanded", String(isOpen));
    this.#count(0);
    $("messages").scrollTop = $("messages").scrollHeight;
  }

  #count(unread) {
    this.#unread = unread;
    $("unread").hidden = unread === 0;
    $("unread").textContent = unread > 9 ? "9+" : String(unread);
  }
}
