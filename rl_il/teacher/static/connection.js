// The WebSocket: says hello with the token, hands messages on, and comes back by itself when it is lost.
// Its status is one of: connecting, open, taken (by another tab), replaced (by another tab), denied, lost.

const DENIED = 4401;
const REPLACED = 4409;
const LONGEST_WAIT = 4000; // ms between two attempts

/** Takes the token out of the address bar; kept for this tab, so that a reload works. */
function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    sessionStorage.setItem("token", token);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token") ?? "";
}

export class Connection {
  /** `onStatus(status)`, `onMessage(object)`, `onFrame(ArrayBuffer)` are called as things happen. */
  constructor({ onStatus, onMessage, onFrame }) {
    this.handlers = { onStatus, onMessage, onFrame };
    this.status = "connecting";
    this.wait = 250;
    addEventListener("hashchange", () => takeToken() && this.open());
    addEventListener("online", () => this.status === "lost" && this.open());
  }

  /** Connects anew; the old socket, if any, is forgotten. */
  open(takeOver = false) {
    clearTimeout(this.timer);
    this.socket?.close();
    const token = takeToken();
    if (!token) {
      this.become("denied");
      return;
    }
    const socket = new WebSocket(`ws://${location.host}/socket`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", token, take_over: takeOver }));
    socket.onmessage = (event) => socket === this.socket && this.receive(event.data);
    socket.onclose = (event) => socket === this.socket && this.closed(event.code);
    this.socket = socket;
    if (this.status !== "lost") this.become("connecting"); // while retrying, "lost" stays on the page
  }

  receive(data) {
    if (data instanceof ArrayBuffer) {
      this.handlers.onFrame(data);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "welcome") {
      this.wait = 250;
      this.become("open");
    }
    if (message.type === "taken") this.become("taken");
    this.handlers.onMessage(message);
  }

  closed(code) {
    if (code === DENIED) sessionStorage.removeItem("token");
    if (code === DENIED || code === REPLACED) {
      this.become(code === DENIED ? "denied" : "replaced");
      return;
    }
    this.become("lost");
    this.timer = setTimeout(() => this.open(), this.wait);
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
  }

  become(status) {
    this.status = status;
    this.handlers.onStatus(status);
  }

  /** Sends one message, if the session is ours at the moment; whether it was. */
  send(message) {
    const ours = this.status === "open" && this.socket.readyState === WebSocket.OPEN;
    if (ours) this.socket.send(JSON.stringify(message));
    return ours;
  }
}
